r"""Network of PixelCNN++: each pixel from those before it, through gated residual blocks with short cuts.

With :math:`e(x) = \mathrm{elu}([x, -x])` a block is

.. math:: x' = x + a\,\sigma(b), \qquad (a, b) = W_2 * e\bigl(W_1 * e(x) + V e(z)\bigr) + V_h h,

of what is known ``h``, numbers of the image and maps beside it, and of what lies beside the block ``z``: for
the horizontal stack the vertical one (:mod:`simulacra.nn.pixel_net`), and in the second half of the blocks
what their counterparts of the first half made. Pixels enter as numbers, so that nothing depends on how many
levels there are.

Reference: Salimans et al., arXiv:1701.05517, section 2; code openai/pixel-cnn.

Note:
    Differs from the reference: all blocks are at full size, as layers of a calorimeter are a few rows and
    often an odd number of them; rows of the horizontal stack see one another through the vertical one alone;
    no weight normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core.ranges import Count, Dropout
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.pixel_net import ColumnConv, Memory, PixelNet, RowConv, sides

Convolve = Callable[[nn.Module, Tensor], Tensor]
"""Apply a convolution where and with the memory that the stack has."""


def both(x: Tensor) -> Tensor:
    """``elu`` of ``x`` ``(N, C, h, w)`` and of its negative: ``(N, 2 C, h, w)``."""
    return functional.elu(torch.cat([x, -x], dim=1))


class Block(nn.Module):
    """Gated residual block, see the module's docstring.

    Args:
        channels: ``C``.
        conv: Makes a convolution from the channels of its input and output.
        beside: Channels of what lies beside it, 0 for nothing.
        known: Numbers of the image.
        maps: Maps beside it, as the stacks are given them.
        dropout: Probability, between the two convolutions.
    """

    def __init__(
        self,
        channels: int,
        conv: Callable[[int, int], nn.Module],
        beside: int,
        known: int,
        maps: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first, self.second = conv(2 * channels, channels), conv(2 * channels, 2 * channels)
        self.beside = nn.Conv2d(2 * beside, channels, 1, bias=False) if beside else None
        self.numbers = nn.Linear(known, 2 * channels)
        self.maps = nn.Conv2d(maps, 2 * channels, 1, bias=False) if maps else None
        self.dropout = RandomDrop(dropout)

    def forward(
        self, x: Tensor, beside: Sequence[Tensor], known: Tensor, maps: Tensor, convolve: Convolve
    ) -> Tensor:
        """``(N, C, h, w)`` to the same."""
        inner = convolve(self.first, both(x))
        if self.beside is not None:
            inner = inner + self.beside(both(torch.cat(list(beside), dim=1)))
        inner = convolve(self.second, self.dropout(both(inner)))
        inner = inner + self.numbers(known)[:, :, None, None]
        if self.maps is not None:
            inner = inner + self.maps(maps)
        a, b = inner.chunk(2, dim=1)
        return x + a * torch.sigmoid(b)


class ResidualPixels(PixelNet):
    """See the module's docstring.

    Args:
        levels: Levels of a pixel.
        outputs: Numbers that describe a pixel.
        known: Numbers of the image.
        maps: Maps beside it, 0 for none.
        channels: Channels of both stacks.
        blocks: Blocks of either half of a stack.
        dropout: Probability, in the blocks.
    """

    def __init__(
        self,
        levels: int,
        outputs: int,
        known: int,
        maps: int,
        channels: Count,
        blocks: Count,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.levels, self.outputs = levels, outputs
        c, seen = channels, channels if maps else 0
        self.place = nn.Conv2d(maps, c, 3) if maps else None
        self.down = RowConv(3, c, (2, 3))
        self.across = ColumnConv(4, c, 2)
        self.link = nn.Conv2d(c, c, 1)

        def rows(inputs: int, outputs: int) -> nn.Module:
            return RowConv(inputs, outputs, (2, 3))

        def columns(inputs: int, outputs: int) -> nn.Module:
            return ColumnConv(inputs, outputs, 2)

        halves = [(0, c), (c, 2 * c)]  # channels beside the vertical and the horizontal blocks
        self.vertical_blocks = nn.ModuleList(
            Block(c, rows, beside, known, seen, dropout)
            for beside, _ in halves
            for _ in range(blocks)
        )
        self.horizontal_blocks = nn.ModuleList(
            Block(c, columns, beside, known, seen, dropout)
            for _, beside in halves
            for _ in range(blocks)
        )
        last = nn.Conv2d(c, outputs, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.head = nn.Sequential(nn.ELU(), last)

    def embed(self, levels: Tensor) -> Tensor:
        """See :meth:`PixelNet.embed`: where a level lies between -1 and 1, whether there is energy, and 1 to
        tell a pixel from what is beyond the ends.
        """
        levels = levels.to(self.link.weight)
        hit = (levels > 0).to(levels)
        place = hit * (2 * levels - self.levels) / (self.levels - 1)
        return torch.stack([place, hit, torch.ones_like(hit)], dim=1)

    def spread(self, maps: Tensor, closed: bool) -> Tensor:
        """See :meth:`PixelNet.spread`; each pixel sees the maps at it and around it."""
        if self.place is None:
            return maps
        return functional.elu(self.place(functional.pad(sides(maps, 1, closed), (0, 0, 1, 1))))

    def vertical(
        self, x: Tensor, known: Tensor, maps: Tensor, closed: bool, memory: Memory | None = None
    ) -> Sequence[Tensor]:
        """See :meth:`PixelNet.vertical`; one before the blocks and one for each ``(N, C, h, W)``."""

        def convolve(conv: nn.Module, y: Tensor) -> Tensor:
            found: Tensor = conv(y, closed, memory)
            return found

        made = [convolve(self.down, x)]
        half = len(self.vertical_blocks) // 2
        for number, block in enumerate(self.vertical_blocks):
            beside = made[2 * half - 1 - number : 2 * half - number] if number >= half else []
            made.append(block(made[-1], beside, known, maps, convolve))
        return made

    def horizontal(
        self,
        x: Tensor,
        spent: Tensor,
        above: Sequence[Tensor],
        known: Tensor,
        maps: Tensor,
        memory: Memory | None = None,
    ) -> Tensor:
        """See :meth:`PixelNet.horizontal`."""

        def convolve(conv: nn.Module, y: Tensor) -> Tensor:
            found: Tensor = conv(y, memory)
            return found

        made = [convolve(self.across, torch.cat([x, spent], dim=1)) + self.link(above[0])]
        half = len(self.horizontal_blocks) // 2
        for number, block in enumerate(self.horizontal_blocks):
            beside = [above[number + 1]]
            if number >= half:
                beside.append(made[2 * half - 1 - number])
            made.append(block(made[-1], beside, known, maps, convolve))
        described: Tensor = self.head(made[-1])
        return described
