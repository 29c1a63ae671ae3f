r"""Layers of different binnings on one grid, and back: GLaM, "geometry latent mapping".

Rows and columns of the grid are cut at the edges of all layers. A layer ``x`` of rows and columns becomes
:math:`P\,x\,W^T`, with the share of each of its cells that falls into each cell of the grid, and comes back
as :math:`P^+ X\,V^T`: at first :math:`V = W^+`, so that nothing is lost and sums are kept. The maps of the
columns are trained, those of the rows are not: a layer without bins along them is spread evenly and summed
back. What lies beyond the edges of a layer is 0 at first.

Where all layers have one shape, they are the grid and no map is needed.

Reference: CaloDiffusion, arXiv:2308.03876, section 3.3.

Note:
    Differs from the reference: no noise is added to the first maps, which makes them exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import Geometry, UserError

_SAME = 1e-6  # edges nearer than this share of the whole range are one


class CommonGrid(nn.Module):
    """See the module's docstring.

    Args:
        geometry: Where the cells lie.
        copied: Give each cell of the grid the value of the cell that it lies in, not its share of it, and
            take the mean on the way back, so that values keep their size.

    Attributes:
        shape: ``(L, rows, cols)`` of the grid.
        periodic: Axis of the grid that closes on itself (1 rows, 2 columns), or None.

    Raises:
        UserError: If layers close on themselves along different axes.
    """

    def __init__(self, geometry: Geometry, copied: bool = False) -> None:
        super().__init__()
        self.geometry = geometry
        self.periodic = _periodic(geometry)
        self.spread, self.gather = nn.ParameterList(), nn.ParameterList()
        if geometry.regular:
            self.shape = geometry.padded_shape
            return
        rows, cols = (_union([layer.edges[axis] for layer in geometry.layers]) for axis in (0, 1))
        self.shape = len(geometry), len(rows) - 1, len(cols) - 1
        for number, layer in enumerate(geometry.layers):
            maps = [
                _maps(edges, common, axis == "r", copied)
                for edges, common, axis in zip(layer.edges, (rows, cols), layer.axes, strict=True)
            ]
            for name, value in zip(("to", "back"), maps[0], strict=True):
                self.register_buffer(f"rows_{name}_{number}", value, persistent=False)
            self.spread.append(nn.Parameter(maps[1][0]))
            self.gather.append(nn.Parameter(maps[1][1]))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, V)`` to ``(B, L, rows, cols)``."""
        if self.geometry.regular:
            return x.unflatten(1, self.shape)
        parts = zip(self.geometry.split(x), self.spread, strict=True)
        return torch.stack(
            [
                self.get_buffer(f"rows_to_{number}") @ part @ spread.T
                for number, (part, spread) in enumerate(parts)
            ],
            dim=1,
        )

    def back(self, grid: Tensor) -> Tensor:
        """``(B, L, rows, cols)`` to ``(B, V)``."""
        if self.geometry.regular:
            return grid.flatten(1)
        parts = zip(grid.unbind(1), self.gather, strict=True)
        return self.geometry.join(
            [
                self.get_buffer(f"rows_back_{number}") @ part @ gather.T
                for number, (part, gather) in enumerate(parts)
            ]
        )


def _periodic(geometry: Geometry) -> int | None:
    axes = {
        layer.periodic
        for layer in geometry.layers
        if layer.periodic is not None and layer.shape[layer.periodic] > 1
    }
    if len(axes) > 1:
        raise UserError("layers that close on themselves along different axes have no common grid")
    return 1 + axes.pop() if axes else None


def _union(edges: Sequence[Sequence[float]]) -> list[float]:
    """All edges in order, those that differ by rounding once."""
    found = sorted({edge for part in edges for edge in part})
    gap = _SAME * (found[-1] - found[0])
    return [found[0], *(high for low, high in pairwise(found) if high - low > gap)]


def _maps(
    edges: Sequence[float], common: Sequence[float], radial: bool, copied: bool
) -> tuple[Tensor, Tensor]:
    """Shares of bins ``n`` in bins ``N`` of a finer axis ``(N, n)``, and the way back ``(n, N)``.

    Args:
        edges: ``n + 1`` edges.
        common: ``N + 1`` edges, among them these but for rounding.
        radial: Whether bins are rings, whose areas count.
        copied: See :class:`CommonGrid`.
    """
    own, fine = (torch.tensor(e, dtype=torch.float64) for e in (edges, common))
    if radial:
        own, fine = own.square(), fine.square()
    low = torch.maximum(fine[:-1, None], own[None, :-1])
    high = torch.minimum(fine[1:, None], own[None, 1:])
    shares = (high - low).clamp(min=0) / own.diff()
    shares = torch.where(shares < _SAME, 0.0, shares)
    shares = shares / shares.sum(0)
    if copied:
        return (shares > 0).float(), shares.T.float().contiguous()
    inverse = (shares / shares.square().sum(0)).T  # each fine bin lies in one bin at most
    return shares.float(), inverse.float().contiguous()
