r"""Locally connected layers: convolutions whose kernel differs from place to place.

With a kernel of :math:`k \times l` pixels at every place :math:`p` of the output,

.. math:: y_{o p} = b_{p o} + \sum_{i, a, b} W_{p, o, (i a b)}\; x_{i,\, s p + (a, b)} .

Images that are centred look different in the middle and at the edge, which one kernel for all places cannot
say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core.errors import UserError


class LocallyConnected2d(nn.Module):
    """``(B, in_channels, *size)`` to ``(B, channels, *out)``.

    Along each axis ``out = (size + 2 padding - kernel) // stride + 1``.

    Args:
        size: Rows and columns of the input.
        in_channels: Channels of the input.
        channels: Channels of the output.
        kernel: Rows and columns that an output sees.
        stride: Rows and columns between neighbouring outputs.
        padding: Zeros around the input.
        bias: Whether every output has a bias of its own.

    Raises:
        UserError: If the padded input is smaller than the kernel.
    """

    index: Tensor

    def __init__(
        self,
        size: Sequence[int],
        in_channels: int,
        channels: int,
        kernel: Sequence[int],
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0),
        bias: bool = True,
    ) -> None:
        super().__init__()
        padded = [n + 2 * p for n, p in zip(size, padding, strict=True)]
        if any(n < k for n, k in zip(padded, kernel, strict=True)):
            raise UserError(
                f"a kernel of {kernel[0]} x {kernel[1]} pixels needs an image as large, got "
                f"{padded[0]} x {padded[1]} with its padding"
            )
        self.padding = [padding[1], padding[1], padding[0], padding[0]]
        self.size = tuple((n - k) // s + 1 for n, k, s in zip(padded, kernel, stride, strict=True))
        starts = [s * torch.arange(n) for n, s in zip(self.size, stride, strict=True)]
        rows, cols = (
            start[:, None] + torch.arange(k) for start, k in zip(starts, kernel, strict=True)
        )  # (out, k)
        pixel = rows[:, None, :, None] * padded[1] + cols[None, :, None, :]  # (r, c, k, l)
        channel = torch.arange(in_channels) * math.prod(padded)
        seen = channel[:, None] + pixel.reshape(-1, 1, math.prod(kernel))  # (P, i, k l)
        self.register_buffer("index", seen.flatten(), persistent=False)
        places, width = seen.shape[0], seen[0].numel()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(places, channels, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(places, channels, 1)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        pixels = functional.pad(x, self.padding).flatten(1).T  # (C H W, B): whole rows are gathered
        seen = pixels.index_select(0, self.index).unflatten(
            0, (len(self.weight), -1)
        )  # (P, i k l, B)
        y = torch.bmm(self.weight, seen)  # (P, o, B)
        if self.bias is not None:
            y = y + self.bias
        return y.permute(2, 1, 0).unflatten(2, self.size)
