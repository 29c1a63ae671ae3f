r"""Density of cells that are levels, pixel by pixel and layer by layer.

.. math:: P(q | c) = \prod_l \prod_i P(q_{l,i} | q_{l,1} \dots q_{l,i-1},\, q_{l-1} \dots q_{l-h},\, c),

in each layer row by row. One network (:mod:`simulacra.nn.pixel_net`) serves all layers, whatever their
shapes; it is told conditions and energies of all layers, which layer it is in and its energy, sees the layers
before as maps on the cells of its own, and at each pixel the share of the layer's energy that the pixels
before it hold. Showers are not the same everywhere, so each cell has numbers of its own that are added last;
they start at the levels of some training events, so that a training begins at independent cells.

Layers that close on themselves along their rows are turned, so that rows of pixels are whole circles.

References: van den Oord et al., arXiv:1606.05328 and arXiv:1601.06759.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import Geometry, Layer, Layout, UserError, draws
from simulacra.core.ranges import Count, Whole
from simulacra.dynamics.density import Density, Rows, first
from simulacra.dynamics.level_heads import LevelHead
from simulacra.nn.mlp import MLP
from simulacra.nn.pixel_net import Memory, PixelNet

MakePixelNet = Callable[..., PixelNet]
"""From keywords ``levels``, ``outputs``, ``known`` and ``maps``."""
SHOWN = 2
"""Maps of each layer before: how high its levels are, and where there is a hit."""
POOLED = 16.0
"""Events that all cells of a layer together count for among those that a cell's first numbers come from."""


@dataclass(frozen=True)
class Raster:
    """How a layer is gone through: ``H`` rows of ``W`` pixels.

    Args:
        shape: Rows and columns of the layer.
        turned: Whether columns become rows.
        closed: Whether a row of pixels closes on itself.
    """

    shape: tuple[int, int]
    turned: bool
    closed: bool

    @classmethod
    def of(cls, layer: Layer) -> Raster:
        """The raster of a layer."""
        periodic = layer.periodic is not None and layer.shape[layer.periodic] > 1
        return cls(layer.shape, layer.periodic == 0, periodic)

    def image(self, flat: Tensor) -> Tensor:
        """Cells ``(..., V)`` as rows of pixels ``(..., H, W)``."""
        return self.turn(flat.unflatten(-1, self.shape))

    def turn(self, image: Tensor) -> Tensor:
        """``(..., rows, columns)`` to ``(..., H, W)`` or back."""
        return image.transpose(-1, -2) if self.turned else image


class PixelDensity(Density):
    """See the module's docstring.

    Args:
        layout: What is described; levels of cells with a geometry.
        net: Makes the network.
        head: Makes the distribution of a level from their number.
        history: Layers ``h`` that each layer sees before it.
        hidden: Width of the network of conditions and energies.
        known: Width of what it makes of them.

    Raises:
        UserError: If the numbers are no levels of cells.
    """

    def __init__(
        self,
        layout: Layout,
        net: MakePixelNet,
        head: Callable[[int], LevelHead],
        history: Whole,
        hidden: Count,
        known: Count,
    ) -> None:
        super().__init__()
        if layout.levels is None or layout.geometry is None:
            raise UserError(
                "a density of pixels describes levels of cells: take a transform that makes them, such as "
                "simulacra.transforms.shower_levels.ShowerLevels"
            )
        self.features, self.levels, self.geometry = (
            layout.features,
            layout.levels,
            layout.geometry,
        )
        self.energies = len(layout.layers)
        self.history = min(history, len(self.geometry) - 1)
        self.head = head(self.levels.count)
        self.rasters = [Raster.of(layer) for layer in self.geometry.layers]
        self.known = MLP(layout.context + 1 + len(self.geometry), known, [hidden])
        self.net = net(
            levels=self.levels.count,
            outputs=self.head.outputs,
            known=known,
            maps=SHOWN * self.history,
        )
        self.bias = nn.Parameter(torch.zeros(self.features, self.head.outputs))
        for number in range(len(self.geometry)):
            for back in range(1, min(self.history, number) + 1):
                for axis, name in enumerate(("rows", "columns")):
                    self.register_buffer(
                        f"{name}_{number}_{back}",
                        overlaps(self.geometry, number - back, number, axis),
                        persistent=False,
                    )

    @torch.no_grad()
    def fit(self, rows: Iterable[Rows]) -> None:
        """Start at the levels of each cell in the first batch, and of all cells of its layer."""
        x, _, weight = first(rows)
        weight = x.new_ones(len(x)) if weight is None else weight.to(x)
        weight = weight * (len(x) / weight.sum().clamp(min=1e-12))
        counts = x.new_zeros(x.shape[1], self.levels.count)
        counts.scatter_add_(1, x.long().T, weight.expand(x.shape[1], -1))
        parts = counts.split(list(self.geometry.sizes))
        pooled = torch.cat([part.mean(0).expand_as(part) for part in parts]) + 1e-2
        shares = counts + POOLED * pooled / pooled.sum(1, keepdim=True)
        self.bias.copy_(self.head.start(shares / shares.sum(1, keepdim=True)))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log probability ``(B,)`` of levels ``(B, V)``."""
        return self.log_probs(x, context).sum(-1)

    def log_probs(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log probability of each cell given those before it: ``(B, V)``."""
        numbers = self.numbers(x, context)
        return self.head.log_prob(numbers, x)

    def numbers(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What describes each cell given those before it: ``(B, V, O)``.

        Layers of one shape go through the network together.
        """
        reach, known = self._known(context, len(x), x)
        layers = list(x.split(list(self.geometry.sizes), dim=-1))
        found: list[Tensor] = [x] * len(layers)
        for raster in dict.fromkeys(self.rasters):
            members = [n for n, other in enumerate(self.rasters) if other == raster]
            levels = torch.stack([raster.image(layers[n]) for n in members], dim=1).flatten(0, 1)
            maps = torch.stack([self._maps(n, layers) for n in members], dim=1).flatten(0, 1)
            share = self.levels.share(levels, reach[:, members].reshape(-1, 1, 1))
            before = functional.pad(
                share.flatten(1), (1, -1)
            )  # a difference of sums would tell the pixel
            spent = before.cumsum(1).view_as(share)
            made = self.net(
                self.net.embed(levels), spent[:, None], known[:, members].flatten(0, 1), maps,
                raster.closed,
            ).float()  # fmt: skip
            cells = raster.turn(made).flatten(-2).unflatten(0, (len(x), len(members)))
            for place, n in enumerate(members):
                found[n] = cells[:, place].transpose(1, 2)
        return torch.cat(found, dim=1) + self.bias

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw levels ``(n, V)``, one after the other in the order of the pixels; NaN where the network makes
        no numbers.

        Raises:
            UserError: In an exported graph.
        """
        if draws.unrolled():
            raise UserError(
                f"cells are drawn one after the other, and a graph with the steps of {self.features} of them "
                "is too large to export"
            )
        reach, known = self._known(context, n, self.bias)
        made: list[Tensor] = []
        for number in range(len(self.geometry)):
            made.append(self._draw(number, made, reach[:, number], known[:, number], generator))
        return torch.cat(made, dim=1)

    def _draw(
        self,
        number: int,
        before: list[Tensor],
        reach: Tensor,
        known: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Levels of layer ``number`` ``(n, V_l)`` after the levels of those before it."""
        raster = self.rasters[number]
        own = self.bias.split(list(self.geometry.sizes))[number]
        bias = raster.image(own.T).movedim(0, -1)  # (H, W, O)
        height, width = bias.shape[:2]
        maps = self._maps(number, [torch.nan_to_num(part) for part in before], len(reach))
        maps = self.net.spread(maps, raster.closed)
        level = reach.new_zeros(len(reach), height, width)
        spent = reach.new_zeros(len(reach), 1, 1, 1)
        rows: Memory = {}
        nothing = torch.zeros_like(self.net.embed(level[:, :1]))  # (n, F, 1, W)
        above = nothing
        for r in range(height):
            row_maps = maps[..., r : r + 1, :]
            seen = self.net.vertical(above, known, row_maps, raster.closed, rows)
            columns: Memory = {}
            left, drawn = nothing[..., :1], []
            for c in range(width):
                here = slice(c, c + 1)
                numbers = self.net.horizontal(
                    left, spent, [part[..., here] for part in seen], known, row_maps[..., here], columns
                )  # fmt: skip
                shares = self.head.probabilities(numbers[:, :, 0, 0].float() + bias[r, c])
                chosen = draws.categorical(len(shares), shares, generator)[:, None, None]
                level[:, r, c] = (
                    chosen[:, 0, 0].to(level).where(shares.isfinite().all(1), torch.nan)
                )
                left = self.net.embed(chosen)
                drawn.append(left)
                spent = spent + self.levels.share(chosen, reach[:, None, None])[:, None]
            above = torch.cat(drawn, dim=-1)
        return raster.turn(level).flatten(1)

    def _known(self, context: Tensor | None, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Reach of each layer ``(n, L)`` and what the network is told of it ``(n, L, D)``."""
        reach, count = self.levels.reach(context, n).to(like), len(self.geometry)
        given = like.new_zeros(n, 0) if context is None else context
        own = given[:, -count:] if self.energies else like.new_zeros(n, count)
        which = torch.eye(count, device=like.device, dtype=like.dtype)
        told = torch.cat(
            [
                given[:, None].expand(-1, count, -1),
                own[..., None],
                which.expand(n, -1, -1),
            ],
            dim=-1,
        )
        return reach, self.known(told)

    def _maps(self, number: int, layers: list[Tensor], n: int | None = None) -> Tensor:
        """Layers before layer ``number`` on its own pixels ``(B, 2 h, H, W)``, 0 where there are none."""
        raster = self.rasters[number]
        shape = raster.turn(self.bias.new_empty(raster.shape)).shape
        rows = len(layers[0]) if n is None else n
        parts = [self.bias.new_zeros(rows, 0, *shape)]
        for back in range(1, self.history + 1):
            if back > number:
                parts.append(self.bias.new_zeros(rows, SHOWN, *shape))
                continue
            level = layers[number - back].unflatten(-1, self.rasters[number - back].shape)
            shown = torch.stack([level / (self.levels.count - 1), (level > 0).to(level)], dim=1)
            moved = self.get_buffer(f"rows_{number}_{back}") @ shown
            parts.append(raster.turn(moved @ self.get_buffer(f"columns_{number}_{back}").T))
        return torch.cat(parts, dim=1)


def overlaps(geometry: Geometry, source: int, target: int, axis: int) -> Tensor:
    """Shares of the bins of one layer in those of another along an axis, ``(target, source)``; a bin of the
    target that meets none sees none.
    """
    own, other = (
        torch.tensor(geometry.layers[n].edges[axis], dtype=torch.float64) for n in (target, source)
    )
    low = torch.maximum(own[:-1, None], other[None, :-1])
    high = torch.minimum(own[1:, None], other[None, 1:])
    return ((high - low).clamp(min=0) / own.diff()[:, None]).float()
