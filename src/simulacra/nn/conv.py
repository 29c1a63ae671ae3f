"""Convolutional stacks whose layer sizes follow from the size of the grid.

With kernel ``k``, stride ``s`` and padding ``p`` an axis of ``n`` cells becomes ``(n + 2 p - k) // s +
1``; a transposed convolution does the reverse, ``(n - 1) s - 2 p + k``. Normalisation is over the spatial
cells of each channel, with one gain and bias per cell shared by all channels: no statistics of the batch
enter, so a critic may carry a gradient penalty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from simulacra.core.errors import UserError


def triple(values: Iterable[int]) -> tuple[int, int, int]:
    """Depth, rows and columns."""
    depth, rows, cols = values
    return depth, rows, cols


def conv_size(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> list[int]:
    """Cells per axis after a convolution."""
    return [
        (n + 2 * p - k) // s + 1 for n, k, s, p in zip(sizes, kernel, stride, padding, strict=True)
    ]


class ConvDown3d(nn.Module):
    """Strided convolutions ``(B, C, L, R, K) -> (B, C', l, r, k)``, each with spatial norm (the last only if
    asked for) and LeakyReLU.

    A kernel longer than its axis is cut to the axis, so that any grid fits; a single cell is not normalised.

    Args:
        in_channels: Channels of the input.
        sizes: Cells per axis of the input.
        channels: Output channels of each convolution.
        kernels: Kernel of each convolution.
        strides: Stride of each convolution.
        paddings: Zero padding of each convolution.
        slope: Slope of the LeakyReLU below zero.
        norm_last: Whether the output of the last convolution is normalised, too.
    """

    def __init__(
        self,
        in_channels: int,
        sizes: Sequence[int],
        channels: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        paddings: Sequence[Sequence[int]],
        slope: float = 0.2,
        norm_last: bool = False,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernels) == len(strides) == len(paddings):
            raise UserError(
                f"convolutions need as many channels as kernels, strides and paddings, got {len(channels)}, "
                f"{len(kernels)}, {len(strides)} and {len(paddings)}"
            )
        layers: list[nn.Module] = []
        last = len(channels) - 1
        for i, (width, kernel, stride, padding) in enumerate(
            zip(channels, kernels, strides, paddings, strict=True)
        ):
            fit = triple(min(k, n + 2 * p) for k, n, p in zip(kernel, sizes, padding, strict=True))
            layers.append(
                nn.Conv3d(in_channels, width, fit, triple(stride), triple(padding), bias=False)
            )
            in_channels, sizes = width, conv_size(sizes, fit, stride, padding)
            normed = (i < last or norm_last) and math.prod(sizes) > 1
            layers += [nn.LayerNorm(sizes)] if normed else []
            layers.append(nn.LeakyReLU(slope))
        self.layers = nn.Sequential(*layers)
        self.features = in_channels * math.prod(sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, L, R, K)``."""
        return self.layers(x)


class ConvUp3d(nn.Module):
    """Transposed convolutions (kernel 4, stride 2, padding 1), each with spatial norm and ReLU; every axis
    doubles.

    Args:
        in_channels: Channels of the input.
        sizes: Cells per axis of the input.
        channels: Output channels of each stage.
    """

    def __init__(self, in_channels: int, sizes: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in channels:
            sizes = [2 * n for n in sizes]
            layers += [
                nn.ConvTranspose3d(in_channels, width, 4, 2, 1, bias=False),
                nn.LayerNorm(sizes),
                nn.ReLU(),
            ]
            in_channels = width
        self.layers = nn.Sequential(*layers)
        self.sizes = list(sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, l, r, k)``."""
        return self.layers(x)


class ConvHead3d(nn.Module):
    """Transposed convolution whose output is cropped to exactly ``sizes`` cells.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        start: Cells per axis of the input.
        sizes: Cells per axis of the output, at most ``stride * start``.
        stride: 1 (kernel 3) or 2 (kernel 2, so that each input cell makes a block of its own).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        start: Sequence[int],
        sizes: Sequence[int],
        stride: int,
    ) -> None:
        super().__init__()
        kernel = 3 if stride == 1 else 2
        surplus = [(n - 1) * stride + kernel - size for n, size in zip(start, sizes, strict=True)]
        padding = triple(extra // 2 for extra in surplus)
        self.conv = nn.ConvTranspose3d(
            in_channels, out_channels, kernel, stride, padding, bias=False
        )
        self.sizes = tuple(sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, l, r, k)`` to ``(B, C', *sizes)``."""
        rows, cols, depth = self.sizes
        return self.conv(x)[:, :, :rows, :cols, :depth]
