r"""Convolutions over one, two or three axes that keep count of the cells: circular along periodic axes, zeros
beyond the ends of the others.

With kernel ``k`` and stride ``s``, cell ``i`` of the output is made of ``k`` cells of the input from
:math:`s i - l` on, with :math:`l = \lfloor (k - s + 1) / 2 \rfloor`. From ``n`` cells come
:math:`\lceil n / s \rceil`: every cell is seen, and stride 1 keeps the size. :class:`PaddedConvUp` is the
reverse: it reaches the same cells and restores the size exactly, an odd one too.

Turning the input by ``s`` cells along a periodic axis turns the output by one, where ``s`` divides ``n``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional


class Padded(nn.Module):
    """What both directions have in common.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Cells along each axis; one to three axes. Beyond an end of a periodic axis of ``n`` cells it
            may reach for ``n`` cells at most.
        stride: Cells from one cell of the coarser side to the next along each axis, at most the kernel; None
            for 1.
        periodic: Axes that close on themselves, or the only one, or None.

    Raises:
        ValueError: If kernel, stride and periodic axes do not fit each other.
    """

    layers: ClassVar[Mapping[int, Any]]
    """Torch's layer for each number of axes, whose first weights these are."""
    maps: ClassVar[Mapping[int, Any]]
    """The same as functions."""
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
        periodic: Collection[int] | int | None = None,
    ) -> None:
        super().__init__()
        axes = len(kernel)
        self.kernel = tuple(kernel)
        self.stride = (1,) * axes if stride is None else tuple(stride)
        closed = () if periodic is None else (periodic,) if isinstance(periodic, int) else periodic
        self.periodic = frozenset(closed)
        if not 1 <= axes <= 3 or len(self.stride) != axes or not self.periodic <= {*range(axes)}:
            raise ValueError(
                "a padded convolution has one to three axes, a stride for each and periodic ones among them, "
                f"not kernel={self.kernel}, stride={self.stride}, periodic={sorted(self.periodic)}"
            )
        if any(not 1 <= s <= k for k, s in zip(self.kernel, self.stride, strict=True)):
            raise ValueError(
                f"a kernel of {self.kernel} cells leaves gaps at stride {self.stride}: make it longer"
            )
        self.before = [(k - s + 1) // 2 for k, s in zip(self.kernel, self.stride, strict=True)]
        layer = self.layers[axes](inputs, outputs, self.kernel)
        self.weight, self.bias = layer.weight, layer.bias

    def convolve(self, x: Tensor, padding: Sequence[int] | int = 0) -> Tensor:
        """The convolution with zeros at both ends of each axis."""
        convolved: Tensor = self.maps[len(self.kernel)](
            x, self.weight, self.bias, self.stride, padding
        )
        return convolved


class PaddedConv(Padded):
    """``(B, C, *sizes)`` to ``(B, C', *ceil(sizes / stride))``; see :class:`Padded` for the arguments."""

    layers: ClassVar = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    maps: ClassVar = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        wrapped, edges, zeros = [], [], []
        for axis, n in enumerate(x.shape[2:]):
            rest = self.kernel[axis] - self.stride[axis] - self.before[axis]
            ends = (self.before[axis], -n % self.stride[axis] + rest)
            # zeros that both ends have in common are left to the convolution, which is faster
            zero = 0 if axis in self.periodic else min(ends)
            zeros.append(zero)
            wrapped.append(ends if axis in self.periodic else (0, 0))
            edges.append((0, 0) if axis in self.periodic else (ends[0] - zero, ends[1] - zero))
        return self.convolve(_pad(_pad(x, wrapped, "circular"), edges, "constant"), zeros)


class PaddedConvUp(Padded):
    """``(B, C, *ceil(sizes / stride))`` to ``(B, C', *sizes)``; see :class:`Padded` for the arguments."""

    layers: ClassVar = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
    maps: ClassVar = {
        1: functional.conv_transpose1d,
        2: functional.conv_transpose2d,
        3: functional.conv_transpose3d,
    }

    def forward(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Spread the cells of ``x`` over ``sizes`` cells.

        Raises:
            ValueError: If ``x`` is not what a convolution of this stride makes of ``sizes``.
        """
        found = tuple(x.shape[2:])
        if found != tuple(-(-n // s) for n, s in zip(sizes, self.stride, strict=True)):
            raise ValueError(f"{found} cells do not become {tuple(sizes)} at stride {self.stride}")
        wrapped, starts = [], []
        for axis, n in enumerate(sizes):
            k, s, left = self.kernel[axis], self.stride[axis], self.before[axis]
            ends = ((k - 1 - left) // s, (n - 1 + left) // s - (n - 1) // s)
            wrapped.append(ends if axis in self.periodic else (0, 0))
            starts.append(left + s * wrapped[-1][0])
        x = self.convolve(_pad(x, wrapped, "circular"))
        for axis, (start, n) in enumerate(zip(starts, sizes, strict=True)):
            x = x.narrow(2 + axis, start, n)
        return x


def _pad(x: Tensor, ends: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """``x`` with cells before and after each axis."""
    flat = [cells for pair in reversed(ends) for cells in pair]
    return functional.pad(x, flat, mode) if any(flat) else x
