"""Networks that tell each pixel of an image from the pixels before it, row by row and from left to right.

Two stacks share the work. The *vertical* one sees all rows above, both left and right, in convolutions of
whole rows; the *horizontal* one sees what lies left in the same row and takes in the vertical one at the same
pixel. Pixels enter both one place later, by one row or one column, so that every further convolution may
include its own place and nothing is moved a second time: a second move would keep the last row from being
seen, and masked square kernels without two stacks never see a wedge above right.

The same convolutions run over a whole image, when a network learns, and over one row and one pixel after the
other, when it draws: what a convolution saw before, it finds in a :data:`Memory`. A drawn pixel so costs one
small step of the horizontal stack and no second look at any other.

Columns may close on themselves, which the rows above allow; a row has a first pixel nonetheless.

Reference: van den Oord et al., arXiv:1606.05328, section 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Memory = dict[nn.Module, Tensor]
"""The last rows or columns that each convolution has seen; empty at the start of an image or of a row."""


def extended(conv: nn.Module, x: Tensor, cells: int, axis: int, memory: Memory | None) -> Tensor:
    """``x`` behind the ``cells`` rows or columns before it, which are zeros at the start."""
    if cells == 0:
        return x
    before = None if memory is None else memory.get(conv)
    if before is None:
        shape = list(x.shape)
        shape[axis] = cells
        before = x.new_zeros(shape)
    whole = torch.cat([before, x], dim=axis)
    if memory is not None:
        memory[conv] = whole.narrow(axis, whole.shape[axis] - cells, cells)
    return whole


def sides(x: Tensor, cells: int, closed: bool) -> Tensor:
    """``x`` ``(N, C, H, W)`` with columns on both sides: those of the other end if closed, else zeros."""
    if cells == 0:
        return x
    if not closed:
        return nn.functional.pad(x, (cells, cells))
    width = x.shape[-1]
    return x[..., torch.arange(-cells, width + cells, device=x.device) % width]


class RowConv(nn.Module):
    """Convolution over rows up to and with its own, and columns on both sides.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Rows and columns; an odd number of columns.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        if kernel[0] < 1 or kernel[1] < 1 or kernel[1] % 2 == 0:
            raise ValueError(f"a kernel needs rows and an odd number of columns, got {kernel}")
        self.rows, self.columns = kernel[0] - 1, kernel[1] // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel)

    def forward(self, x: Tensor, closed: bool, memory: Memory | None = None) -> Tensor:
        """The next rows ``(N, C, h, W)``, at the start of an image all of them, to as many rows."""
        convolved: Tensor = self.conv(
            sides(extended(self, x, self.rows, -2, memory), self.columns, closed)
        )
        return convolved


class ColumnConv(nn.Module):
    """Convolution over columns up to and with its own, in one row.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        columns: Columns of the kernel.
    """

    def __init__(self, inputs: int, outputs: int, columns: int) -> None:
        super().__init__()
        self.columns = columns - 1
        self.conv = nn.Conv2d(inputs, outputs, (1, columns))

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """The next columns ``(N, C, h, w)``, at the start of rows all of them, to as many columns."""
        convolved: Tensor = self.conv(extended(self, x, self.columns, -1, memory))
        return convolved


class PixelNet(nn.Module, ABC):
    """See the module's docstring.

    ``known`` ``(N, D)`` are numbers of the image, ``maps`` ``(N, M, H, W)`` are maps beside it that are known
    as a whole, ``spent`` ``(N, 1, H, W)`` is a number at each pixel that rests on those before it.
    """

    outputs: int
    """Numbers ``O`` that describe a pixel."""

    @abstractmethod
    def embed(self, levels: Tensor) -> Tensor:
        """Pixels ``(N, H, W)``, whole numbers, as channels ``(N, F, H, W)``."""

    @abstractmethod
    def spread(self, maps: Tensor, closed: bool) -> Tensor:
        """Maps as both stacks are given them; every pixel may see all of them."""

    @abstractmethod
    def vertical(
        self, x: Tensor, known: Tensor, maps: Tensor, closed: bool, memory: Memory | None = None
    ) -> Sequence[Tensor]:
        """What the horizontal stack is given of rows whose rows above are ``x`` ``(N, F, h, W)``.

        Args:
            x: The rows that lie one above each row.
            known: See the class.
            maps: What :meth:`spread` made, in these rows.
            closed: Whether columns close on themselves.
            memory: Of the rows before.
        """

    @abstractmethod
    def horizontal(
        self,
        x: Tensor,
        spent: Tensor,
        above: Sequence[Tensor],
        known: Tensor,
        maps: Tensor,
        memory: Memory | None = None,
    ) -> Tensor:
        """Numbers ``(N, O, h, w)`` of pixels whose left neighbours are ``x`` ``(N, F, h, w)``.

        Args:
            x: The pixels that lie one left of each pixel.
            spent: See the class, at these pixels.
            above: What :meth:`vertical` made, at these pixels.
            known: See the class.
            maps: What :meth:`spread` made, at these pixels.
            memory: Of the columns before, in this row.
        """

    def forward(
        self, x: Tensor, spent: Tensor, known: Tensor, maps: Tensor, closed: bool = False
    ) -> Tensor:
        """Numbers ``(N, O, H, W)`` of all pixels of images ``(N, F, H, W)``, as :meth:`embed` makes them."""
        maps = self.spread(maps, closed)
        rows = nn.functional.pad(x, (0, 0, 1, 0))[..., :-1, :]
        columns = nn.functional.pad(x, (1, 0))[..., :-1]
        above = self.vertical(rows, known, maps, closed)
        return self.horizontal(columns, spent, above, known, maps)
