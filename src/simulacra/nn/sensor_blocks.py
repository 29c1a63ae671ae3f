r"""Blocks of BigGAN-deep for images whose class is known to every normalisation.

:class:`UpBlock` is

.. math:: \mathrm{skip}(x) + C_1 \cdot C_3 \cdot C_3\, \mathrm{up} \cdot C_1\; x,

each convolution behind a conditional batch norm and a ReLU, through a quarter of the input's channels; the
skip drops surplus channels. :class:`DownBlock` goes the other way without normalisation, through a quarter
of the output's channels, with mean pooling; its skip is joined by a 1x1 convolution that makes the missing
channels. Both are recomputed as a whole where memory is short.

References: Brock, Donahue, Simonyan, arXiv:1809.11096, appendix B, BigGAN-deep; Zhang et al.,
arXiv:1805.08318, for :class:`SelfAttention`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.nn.recompute import Block, recomputing
from simulacra.nn.resblocks import double


class StackNorm(nn.BatchNorm2d):
    """Batch norm over all images of a step whose statistics do not count a recomputed pass.

    Args:
        channels: Channels.
        affine: Whether gains and shifts of its own are learned.
    """

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``; in evaluation mode by the running statistics, image by image."""
        momentum = 0.0 if recomputing() or self.momentum is None else self.momentum
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum,
            self.eps,
        )  # fmt: skip

    def fixed(self) -> tuple[Tensor, Tensor]:
        """Scale and shift ``(C,)`` of evaluation mode, without those of its own."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = torch.rsqrt(self.running_var + self.eps)
        return scale, -self.running_mean * scale


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and shift follow from a condition, then ReLU.

    Args:
        channels: Channels.
        cond: Width of the condition.
    """

    def __init__(self, channels: int, cond: int) -> None:
        super().__init__()
        self.norm = StackNorm(channels, affine=False)
        self.gain = nn.Linear(cond, channels, bias=False)
        self.shift = nn.Linear(cond, channels, bias=False)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """``(B, C, H, W)`` under conditions ``(B, cond)``."""
        gain, shift = 1 + self.gain(cond), self.shift(cond)
        if self.training:
            x = self.norm(x)
        else:  # two affine maps are one
            scale, move = self.norm.fixed()
            gain, shift = gain * scale, shift + gain * move
        gain, shift = (part.to(x.dtype)[:, :, None, None] for part in (gain, shift))
        return torch.addcmul(shift, x, gain).relu_()


class UpBlock(Block):
    """See the module's docstring.

    Args:
        in_channels: Channels of the input, no fewer than ``channels``.
        channels: Channels of the output.
        cond: Width of the condition.
        up: Whether rows and columns double.
    """

    def __init__(self, in_channels: int, channels: int, cond: int, up: bool) -> None:
        super().__init__()
        hidden = max(1, in_channels // 4)
        self.channels, self.up = channels, up
        self.norms = nn.ModuleList(
            ConditionalNorm(width, cond) for width in (in_channels, hidden, hidden, hidden)
        )
        self.convs = nn.ModuleList(_convolutions(in_channels, hidden, channels))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """``(B, C, H, W)`` under conditions ``(B, cond)`` to ``(B, C', 2H, 2W)``, or as large as it was."""
        h, skip = x, x[:, : self.channels]
        for number, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = norm(h, cond)
            h = conv(double(h) if self.up and number == 1 else h)
        return h + (double(skip) if self.up else skip)


class DownBlock(Block):
    """See the module's docstring.

    Args:
        in_channels: Channels of the input, no more than ``channels``.
        channels: Channels of the output.
        down: Whether rows and columns halve.
        first: Whether the input is that of the network's first block, which no ReLU cuts.
    """

    def __init__(self, in_channels: int, channels: int, down: bool, first: bool) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.convs = nn.ModuleList(_convolutions(in_channels, max(1, channels // 4), channels))
        missing = channels - in_channels
        self.missing = nn.Conv2d(in_channels, missing, 1) if missing else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H/2, W/2)``, or as large as it was."""
        h = x if self.first else functional.relu(x)
        for number, conv in enumerate(self.convs):
            h = functional.relu(h) if number else h
            h = conv(self._pooled(h) if number == 3 else h)
        skip = self._pooled(x)
        return h + (skip if self.missing is None else torch.cat([skip, self.missing(skip)], 1))

    def _pooled(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2) if self.down else x


class SelfAttention(nn.Module):
    """Every pixel of an image looks at all others, of which four are one; starts as the identity.

    Args:
        channels: Channels, at least 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, small, 1, bias=False)
        self.key = nn.Conv2d(channels, small, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` of even height and width."""
        query = self.query(x).flatten(2).transpose(1, 2)  # (B, HW, C / 8)
        key, value = (
            functional.max_pool2d(part(x), 2).flatten(2).transpose(1, 2)
            for part in (self.key, self.value)
        )  # (B, HW / 4, *)
        found = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.share * self.output(found.transpose(1, 2).unflatten(2, x.shape[2:]))


def _convolutions(first: int, hidden: int, last: int) -> list[nn.Conv2d]:
    """1x1 to the hidden width, two 3x3 in it, 1x1 from it."""
    return [
        nn.Conv2d(first, hidden, 1),
        *(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(2)),
        nn.Conv2d(hidden, last, 1),
    ]
