r"""U-Net on volumes ``(B, C, L, rows, cols)`` that is asked for at a time and given a context.

A block adds the condition after its first convolution,

.. math:: h = \phi(N(K_1 x)) + W\,\phi(e), \qquad y = \phi(N(K_2 h)) + S x,

with convolutions :math:`K` of kernel 3, norms :math:`N` of eight groups, :math:`\phi(x) = x\,\sigma(x)`, an
embedding :math:`e` of time and context, and a shortcut :math:`S` that is the identity where channels agree.
Each level has two blocks and a linear attention among its cells; between levels strided convolutions join
cells, and transposed ones split them again, whatever their number. Rolling the input along a periodic axis,
by as many cells as the coarsest level joins, rolls the output, where that number divides the axis.

Reference: CaloDiffusion, arXiv:2308.03876, section 3.2; linear attention after arXiv:1812.01243.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from simulacra.core import UserError
from simulacra.nn.padded_conv import PaddedConv, PaddedConvUp
from simulacra.nn.recompute import Block

GROUPS = 8


class TimedBlock(Block):
    """See the module's docstring.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        known: Width of the embedding.
        periodic: Axis that closes on itself, or None.
    """

    def __init__(self, inputs: int, outputs: int, known: int, periodic: int | None) -> None:
        super().__init__()
        self.first = PaddedConv(inputs, outputs, (3, 3, 3), periodic=periodic)
        self.second = PaddedConv(outputs, outputs, (3, 3, 3), periodic=periodic)
        self.first_norm, self.second_norm = (nn.GroupNorm(GROUPS, outputs) for _ in range(2))
        self.steer = nn.Linear(known, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Map ``(B, C, *sizes)`` given ``(B, known)``."""
        h = silu(self.first_norm(self.first(x)))
        h = h + self.steer(silu(known))[:, :, None, None, None]
        value: Tensor = silu(self.second_norm(self.second(h))) + self.shortcut(x)
        return value


class LinearAttention(Block):
    r"""Attention among all cells at a cost that is linear in their number, added to its input.

    :math:`y = x + N(W (\sum_i v_i\,p_i^T)\,q)` with the queries' channels and the keys' cells normalised by a
    softmax each.

    Args:
        channels: Channels of the input.
        width: Channels of queries, keys and values, one head.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.norm, self.last_norm = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.take = nn.Linear(channels, 3 * width, bias=False)
        self.give = nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, *sizes)``."""
        cells = self.norm(x).flatten(2).transpose(1, 2)  # (B, V, C)
        query, key, value = self.take(cells).chunk(3, dim=-1)
        seen = key.softmax(1).transpose(1, 2) @ value  # (B, width, width)
        query = query.softmax(-1) * query.shape[-1] ** -0.5
        found = self.give(query @ seen).transpose(1, 2).unflatten(2, x.shape[2:])
        made: Tensor = x + self.last_norm(found)
        return made


class Level(nn.Module):
    """Two blocks and a linear attention; see :class:`TimedBlock` for the arguments."""

    def __init__(self, inputs: int, outputs: int, known: int, periodic: int | None) -> None:
        super().__init__()
        self.first = TimedBlock(inputs, outputs, known, periodic)
        self.second = TimedBlock(outputs, outputs, known, periodic)
        self.attention = LinearAttention(outputs)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Map ``(B, C, *sizes)`` given ``(B, known)``."""
        value: Tensor = self.attention(self.second(self.first(x, known), known))
        return value


class TimedUNet(nn.Module):
    """See the module's docstring.

    Args:
        inputs: Channels of the input.
        known: Width of the embedding of time and context.
        widths: Channels of the first convolution and of each level, multiples of eight.
        periodic: Axis that closes on itself, or None.
        kernels: Cells along each axis of the convolutions between levels, from the finest; the last goes on.
        strides: Cells that they join along each axis, likewise.

    Raises:
        UserError: If a width is no multiple of eight, or there is no level.
    """

    def __init__(
        self,
        inputs: int,
        known: int,
        widths: Sequence[int],
        periodic: int | None,
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        if len(widths) < 2 or any(width % GROUPS or width < 1 for width in widths):
            raise UserError(
                f"widths must be two or more multiples of {GROUPS}, the groups of its norms, got "
                f"{list(widths)}"
            )
        self.first = PaddedConv(inputs, widths[0], (3, 3, 3), periodic=periodic)
        pairs = list(pairwise(widths))
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        self.join, self.split = nn.ModuleList(), nn.ModuleList()
        for number, (before, after) in enumerate(pairs):
            self.downs.append(Level(before, after, known, periodic))
            self.ups.append(Level(2 * after, before, known, periodic))
            if number < len(pairs) - 1:
                form = _at(kernels, number), _at(strides, number)
                self.join.append(PaddedConv(after, after, *form, periodic))
            if number > 0:
                form = _at(kernels, number - 1), _at(strides, number - 1)
                self.split.append(PaddedConvUp(before, before, *form, periodic))
        last = widths[-1]
        self.middle = Level(last, last, known, periodic)
        self.final = TimedBlock(widths[0], widths[0], known, periodic)
        self.head = nn.Conv3d(widths[0], 1, 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Map ``(B, inputs, *sizes)`` given ``(B, known)`` to ``(B, *sizes)``."""
        x = self.first(x)
        skips: list[Tensor] = []
        for level, down in enumerate(self.downs):
            x = down(x, known)
            skips.append(x)
            if level < len(self.join):
                x = self.join[level](x)
        x = self.middle(x, known)
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](torch.cat([x, skips[level]], 1), known)
            if level > 0:
                x = self.split[level - 1](x, skips[level - 1].shape[2:])
        made: Tensor = self.head(self.final(x, known))[:, 0]
        return made


def _at(forms: Sequence[Sequence[int]], number: int) -> Sequence[int]:
    return forms[min(number, len(forms) - 1)]
