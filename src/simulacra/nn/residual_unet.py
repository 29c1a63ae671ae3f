r"""U-Net without norms on the cells of a shower, with attention among the cells of its coarse levels.

A block adds what is known between its convolutions,

.. math:: y = S x + K_2\,\phi\bigl(K_1\,\phi(x) + W e\bigr), \qquad \phi(x) = x\,\sigma(x),

with a shortcut :math:`S` that is the identity where channels agree. The level above keeps the result of each
of its blocks for the block that answers it on the way up. Between levels blocks of two cells along each axis
are averaged (:mod:`simulacra.nn.cell_grid`).

Reference: CaloScore v2, arXiv:2308.03847, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from simulacra.core import Layout
from simulacra.core.ranges import Count, Whole
from simulacra.nn.attention import Attention
from simulacra.nn.cell_grid import CellGrid, pooled, spread
from simulacra.nn.known import Known
from simulacra.nn.padded_conv import PaddedConv
from simulacra.nn.parted import Parted

GROUPS = 4  # of the norm before attention


class CellAttention(nn.Module):
    """Attention of one head among all cells, added to its input.

    Args:
        channels: Channels, a multiple of four.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.attention = Attention(channels, heads=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, *sizes)``."""
        cells = self.norm(x).flatten(2).transpose(1, 2)  # (B, V, C)
        return x + self.attention(cells, cells).transpose(1, 2).unflatten(2, x.shape[2:])


class ResidualBlock(nn.Module):
    """See the module's docstring.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        known: Width of what is known.
        axes: Axes of the grid.
        periodic: Axis that closes on itself, or None.
        attends: Whether attention follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        known: int,
        axes: int,
        periodic: int | None,
        attends: bool,
    ) -> None:
        super().__init__()
        self.first = PaddedConv(inputs, outputs, (3,) * axes, periodic=periodic)
        self.second = PaddedConv(outputs, outputs, (3,) * axes, periodic=periodic)
        self.steer = nn.Linear(known, outputs)
        self.shortcut = (
            nn.Identity() if inputs == outputs else PaddedConv(inputs, outputs, (1,) * axes)
        )
        self.attention = CellAttention(outputs) if attends else nn.Identity()

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Map ``(B, C, *sizes)`` given ``(B, known)``."""
        h = self.first(silu(x))
        h = h + self.steer(known)[(..., *[None] * (x.ndim - 2))]
        made: Tensor = self.attention(self.shortcut(x) + self.second(silu(h)))
        return made


class ResidualUNet(Parted, nn.Module):
    """See the module's docstring; starts at zero.

    Args:
        layout: How the cells lie, and the context.
        widths: Channels of each level, multiples of four where there is attention.
        depth: Blocks of each level on the way down, and on the way up.
        attention: First level whose blocks have attention, from 0; the number of levels for none.
        known: Width of the embeddings of the time and of the context, an even number.
    """

    EMBEDDERS = ("known", "first")
    HEAD = ("head",)

    def __init__(
        self,
        layout: Layout,
        widths: Sequence[Count],
        depth: Count,
        attention: Whole,
        known: Count,
    ) -> None:
        super().__init__()
        self.grid, self.depth = CellGrid(layout), depth
        self.known = Known(layout, known, nn.SiLU)
        axes, levels = len(self.grid.sizes), len(widths)

        def block(inputs: int, level: int) -> nn.Module:
            return ResidualBlock(
                inputs, widths[level], self.known.width, axes, self.grid.periodic,
                level >= attention,
            )  # fmt: skip

        self.first = PaddedConv(self.grid.channels, widths[0], (1,) * axes)
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        before = widths[0]
        for level, width in enumerate(widths):
            inputs = [before, *[width] * (depth - 1)]
            self.downs.extend(block(n, level) for n in inputs)
            before = width
        for level in reversed(range(levels - 1)):
            inputs = [before + widths[level], *[2 * widths[level]] * (depth - 1)]
            self.ups.extend(block(n, level) for n in inputs)
            before = widths[level]
        self.head = PaddedConv(before, 1, (1,) * axes)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, D)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, D)``."""
        known = self.known(t, context)
        x = self.first(self.grid(x))
        stride = (2,) * (x.ndim - 2)
        skips: list[Tensor] = []
        for number, block in enumerate(self.downs):
            if number and number % self.depth == 0:
                x = pooled(x, stride)
            x = block(x, known)
            skips.append(x)
        del skips[-self.depth :]  # nothing answers the coarsest level
        for number, block in enumerate(self.ups):
            if number % self.depth == 0:
                x = spread(x, stride, skips[-1].shape[2:])
            x = block(torch.cat([x, skips.pop()], 1), known)
        made: Tensor = self.head(x)
        return made.flatten(1)
