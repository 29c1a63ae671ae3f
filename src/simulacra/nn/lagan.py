"""Generator and critic of LAGAN (arXiv:1701.05927): images whose last layers differ from pixel to pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count, Whole
from simulacra.nn.latent_vectors import Columns, MakeLatent
from simulacra.nn.local_critic import MakeFeatures, same_conv
from simulacra.nn.locally_connected import LocallyConnected2d
from simulacra.nn.minibatch import MinibatchDiscrimination
from simulacra.nn.resblocks import double
from simulacra.nn.verdicts import Judge, Verdict, leaky

BORDER = 3
"""Pixels along each axis by which the last two layers, with kernels 3 and 2, shrink an image."""


class LAGANGenerator(nn.Module):
    """Latent vector to an image ``(B, 1, *size)``, at least 0 and exactly 0 in most pixels.

    A linear layer makes an image of about a quarter of the rows and columns. A convolution follows, then
    three locally connected layers with kernels 5, 3 and 2, with rows and columns doubled before the first two
    of them; a last ReLU makes zeros.

    Args:
        size: Rows and columns.
        columns: What the conditions are.
        latent: Makes the latent vector.
        channels: Channels after the linear layer, the convolution and the first two locally connected layers.
    """

    def __init__(
        self,
        size: Sequence[int],
        columns: Columns,
        latent: MakeLatent,
        channels: tuple[Count, Count, Count, Count],
    ) -> None:
        super().__init__()
        self.latent = latent(columns)
        large = [n + BORDER for n in size]
        coarse = [-(-n // 4) for n in large]
        middle = [2 * n for n in coarse]
        start, conv, first, second = channels
        self.first = nn.Linear(self.latent.width, start * coarse[0] * coarse[1])
        self.conv = nn.Sequential(
            nn.Unflatten(1, (start, *coarse)), same_conv(start, conv, 5), leaky(), nn.BatchNorm2d(conv)
        )  # fmt: skip
        self.middle = nn.Sequential(
            LocallyConnected2d(middle, conv, first, (5, 5), padding=(2, 2)), leaky(), nn.BatchNorm2d(first)
        )  # fmt: skip
        before = [(2 * m - n) // 2 for m, n in zip(middle, large, strict=True)]
        self.cut = [slice(at, at + n) for at, n in zip(before, large, strict=True)]
        third = LocallyConnected2d(large, first, second, (3, 3))
        self.last = nn.Sequential(
            third, leaky(), LocallyConnected2d(third.size, second, 1, (2, 2), bias=False), nn.ReLU()
        )

    def forward(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` images for conditions ``(n, C)``, or for none."""
        h = self.first(self.latent(n, cond, self.first.weight, generator))
        h = double(self.middle(double(self.conv(h))))
        return self.last(h[:, :, self.cut[0], self.cut[1]])


class LAGANCritic(nn.Module):
    """Images ``(B, 1, *size)`` to a verdict.

    Args:
        size: Rows and columns.
        columns: What the conditions are: it is asked for the class, and sees what is no class.
        features: Makes the local features.
        kernels: Kernels of the minibatch discrimination, 0 for none.
        dim: Rows of each of them.
        hidden: Widths of the layers before the verdict.
    """

    def __init__(
        self,
        size: Sequence[int],
        columns: Columns,
        features: MakeFeatures,
        kernels: Whole,
        dim: Count,
        hidden: Sequence[Count],
    ) -> None:
        super().__init__()
        self.others = list(columns.others)
        self.features = features(size)
        width = self.features.features
        self.across = MinibatchDiscrimination(width, kernels, dim) if kernels else None
        width += kernels + len(self.others)
        self.judge = Judge(width, len(columns.classes), hidden)

    def forward(self, images: Tensor, cond: Tensor | None) -> Verdict:
        """The verdict on images under their conditions ``(B, C)``."""
        found = [self.features(images)]
        found += [] if self.across is None else [self.across(found[0])]
        found += [] if cond is None else [cond[:, self.others]]
        return self.judge(torch.cat(found, dim=1))
