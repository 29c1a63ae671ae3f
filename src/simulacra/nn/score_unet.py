r"""U-Net of score matching on the cells of a shower.

A block adds what is known after its first convolution,

.. math:: y = \phi\bigl(N(K_2\,\phi(K_1 x + W e))\bigr), \qquad \phi(x) = x\,\sigma(x),

with a norm :math:`N` over the batch and dropout. After each level blocks of cells are averaged
(:mod:`simulacra.nn.cell_grid`), and on the way up the result of a level and what was kept of it on the way
down are added and divided by :math:`\sqrt 2`. Time and conditions are told by Gaussian Fourier features.

Reference: CaloScore, arXiv:2206.11898, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from simulacra.core import Layout
from simulacra.core.errors import UserError
from simulacra.core.ranges import Count, Dropout
from simulacra.nn.cell_grid import CellGrid, pooled, spread
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.padded_conv import PaddedConv
from simulacra.nn.parted import Parted
from simulacra.nn.pointwise import GaussianFourier

STD = 16.0  # of the frequencies


class ScoreBlock(nn.Module):
    """See the module's docstring.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        known: Width of what is known.
        kernel: Cells along each axis.
        periodic: Axis that closes on itself, or None.
        dropout: Probability to drop a number.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        known: int,
        kernel: Sequence[int],
        periodic: int | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first = PaddedConv(inputs, outputs, kernel, periodic=periodic)
        self.second = PaddedConv(outputs, outputs, kernel, periodic=periodic)
        self.steer = nn.Linear(known, outputs)
        norm = nn.BatchNorm1d if len(kernel) == 1 else nn.BatchNorm3d
        self.norm, self.dropout = norm(outputs), RandomDrop(dropout)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Map ``(B, C, *sizes)`` given ``(B, known)``."""
        h = self.first(x)
        h = silu(h + self.steer(known)[(..., *[None] * (x.ndim - 2))])
        return silu(self.dropout(self.norm(self.second(h))))


class ConditionFeatures(GaussianFourier):
    """The features of a time, for a number of the context."""

    of_time = False


class ScoreUNet(Parted, nn.Module):
    """See the module's docstring.

    Args:
        layout: How the cells lie, and the context.
        widths: Channels of each level.
        kernel: Cells of a convolution along each axis.
        stride: Cells that are averaged after each level, along the axes of a volume or, its first number,
            along a line.
        known: Width of what time and context become.
        frequencies: Gaussian Fourier frequencies of the time and of each number of the context.
        dropout: Probability to drop a number.
    """

    EMBEDDERS = ("time", "given", "known")
    HEAD = ("head",)

    def __init__(
        self,
        layout: Layout,
        widths: Sequence[Count],
        kernel: Count,
        stride: Sequence[Count],
        known: Count,
        frequencies: Count,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.grid = CellGrid(layout)
        axes = len(self.grid.sizes)
        if len(stride) < axes:
            raise UserError(
                f"cells on {axes} axes are joined along each of them, net.stride={list(stride)} has too few "
                "numbers"
            )
        self.stride = tuple(stride)[:axes]
        self.time = GaussianFourier(frequencies, STD, known)
        self.given = nn.ModuleList(
            ConditionFeatures(frequencies, STD, known) for _ in range(layout.context)
        )
        self.known = nn.Linear(2 * known if layout.context else known, known)

        def block(inputs: int, outputs: int) -> nn.Module:
            shape = (kernel,) * axes
            return ScoreBlock(inputs, outputs, known, shape, self.grid.periodic, dropout)

        befores = [self.grid.channels, *widths[:-1]]
        self.downs = nn.ModuleList(block(n, m) for n, m in zip(befores, widths, strict=True))
        self.middle = block(widths[-1], widths[-1])
        afters = [*widths[1:], widths[-1]]
        self.ups = nn.ModuleList(
            block(n, m) for n, m in reversed(list(zip(afters, widths, strict=True)))
        )
        self.head = PaddedConv(widths[0], 1, (1,) * axes)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, D)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, D)``."""
        known = self._known(t, context)
        x = self.grid(x)
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(x, known)
            skips.append(x)
            x = pooled(x, self.stride)
        x = self.middle(x, known)
        for up in self.ups:
            skip = skips.pop()
            x = (up(spread(x, self.stride, skip.shape[2:]), known) + skip) / math.sqrt(2)
        made: Tensor = self.head(x)
        return made.flatten(1)

    def _known(self, t: Tensor, context: Tensor | None) -> Tensor:
        parts = [self.time(t)]
        if context is not None and self.given:
            numbers = zip(self.given, context.unbind(1), strict=True)
            parts.append(torch.stack([net(number) for net, number in numbers]).sum(0))
        return silu(self.known(torch.cat(parts, 1)))
