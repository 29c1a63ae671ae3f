r"""U-Net on images ``(B, C, H, W)`` that is cheap enough to steer each step of a flow.

Level ``i`` has ``2^i h`` channels; between levels a convolution whose kernel is its stride joins blocks of
cells, and a transposed one splits them again. A level's convolutions are padded with zeros, along a periodic
axis with the cells of the other end.

Reference: convolutional L2LFlows, arXiv:2405.20407, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core.ranges import Count
from simulacra.nn.padded_conv import PaddedConv


class PointConv(nn.Module):
    """Convolution of kernel 1 as one matrix product, with the channels outermost in memory.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs, 1).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H, W)``."""
        rows = torch.addmm(self.bias, self.weight, x.transpose(0, 1).flatten(1))
        return rows.view(-1, x.shape[0], *x.shape[2:]).transpose(0, 1)


class UNet(nn.Module):
    """See the module's docstring; starts at zero.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        hidden: Channels of the first level ``h``.
        strides: Cells that are joined along rows and columns, one pair per further level; each must divide
            the image that reaches it. Empty for plain convolutions.
        periodic: Axis that closes on itself, or None.
        head: Kernel of the last convolution, 3 as published or 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Count,
        strides: Sequence[tuple[int, int]],
        periodic: int | None = None,
        head: Count = 3,
    ) -> None:
        super().__init__()
        encoders: list[nn.Module] = []
        decoders: list[nn.Module] = []
        downs: list[nn.Module] = []
        ups: list[nn.Module] = []
        for level, stride in enumerate(strides):
            width = 2**level * hidden
            encoders.append(
                nn.Sequential(
                    *_unit(inputs if level == 0 else width, width, periodic),
                    *_unit(width, width, periodic),
                )
            )
            downs.append(nn.Conv2d(width, 2 * width, stride, stride=stride))
            ups.append(nn.ConvTranspose2d(2 * width, width, stride, stride=stride))
            last = _unit(width, width, periodic) if level > 0 else []
            decoders.append(nn.Sequential(*_unit(2 * width, width, periodic), *last))
        self.encoders, self.decoders = nn.ModuleList(encoders), nn.ModuleList(decoders)
        self.downs, self.ups = nn.ModuleList(downs), nn.ModuleList(ups)
        self.plain = nn.Sequential(*([] if strides else _unit(inputs, hidden, periodic)))
        self.head = (
            PointConv(hidden, outputs)
            if head == 1
            else PaddedConv(hidden, outputs, (head, head), periodic=periodic)
        )
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``."""
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(x))
            x = down(skips[-1])
        if skips:
            x = functional.leaky_relu(x)
        for decoder, up in zip(reversed(self.decoders), reversed(self.ups), strict=True):
            x = decoder(torch.cat([up(x), skips.pop()], dim=1))
        return self.head(self.plain(x))


def _unit(inputs: int, outputs: int, periodic: int | None) -> list[nn.Module]:
    return [
        PaddedConv(inputs, outputs, (3, 3), periodic=periodic),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(),
    ]


def joined(sizes: Sequence[int], levels: int) -> list[tuple[int, int]]:
    """Strides that join all cells of an image within ``levels`` levels.

    The prime factors of each size, in ascending order, are shared out over the levels: 15 x 15 cells are
    joined by (3, 3) and (5, 5), 25 x 9 by (5, 3) and (5, 3), as published.
    """
    if levels == 0:
        return []
    rows, cols = (_shares(size, levels) for size in sizes)
    return list(zip(rows, cols, strict=True))


def _shares(size: int, levels: int) -> list[int]:
    factors = []
    divisor = 2
    while size > 1:
        while size % divisor == 0:
            factors.append(divisor)
            size //= divisor
        divisor += 1
    shares = [1] * levels
    for number, factor in enumerate(reversed(factors)):
        shares[levels - 1 - number * levels // len(factors)] *= factor
    return shares
