"""Generator and critic of the simple GAN of "Getting High" (arXiv:2005.05334), for any regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count, Positive
from simulacra.nn.conv import ConvHead3d, conv_size, triple
from simulacra.nn.latent_vectors import Columns, MakeLatent
from simulacra.nn.mlp import MLP
from simulacra.nn.verdicts import Verdict
from simulacra.nn.volumes import Volumes, as_volume, leaky, narrow_init, sum_of

PADDINGS = (3, 1, 0)
"""Of the first, the middle and the last convolution of the critic."""


class PlainGenerator(nn.Module):
    """Latent vector to a volume by transposed convolutions, with norms over the batch and a last ReLU.

    Args:
        volumes: What volumes are.
        columns: What the conditions are.
        latent: Makes the latent vector.
        channels: Channels at the coarsest size and after each doubling.
        response: Widths of the network that draws the sum of all cells; None: there is none.
        initial: Width of the normal weights of convolutions at the start.
    """

    def __init__(
        self,
        volumes: Volumes,
        columns: Columns,
        latent: MakeLatent,
        channels: Sequence[Count],
        response: Sequence[Count] | None,
        initial: Positive,
    ) -> None:
        super().__init__()
        self.latent = latent(columns)
        start = triple(-(-n // 2 ** (len(channels) - 1)) for n in volumes.sizes)
        self.sum = sum_of(volumes, columns.width, response)
        width = self.latent.width + self.sum.width
        self.first = nn.ConvTranspose3d(width, channels[0], start, bias=False)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose3d(before, after, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm3d(after), nn.ReLU()]
        whole = [n * 2 ** (len(channels) - 1) for n in start]
        head = ConvHead3d(channels[-1], 1, whole, volumes.sizes, 1)
        self.body = nn.Sequential(*layers, head, nn.ReLU())
        self.apply(partial(narrow_init, width=initial))

    def forward(self, n: int, cond: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``n`` volumes ``(n, 1, *sizes)``, non-negative, for conditions ``(n, C)``."""
        z = self.latent(n, cond, self.first.weight, generator)
        r = self.sum.draw(cond, generator)
        volume = self.body(self.first(as_volume(torch.cat([z, r], dim=1))))
        return self.sum(volume, r, cond)


class PlainCritic(nn.Module):
    """Volume and conditions to a score by strided convolutions, with norms over the batch but the first.

    A kernel longer than its axis is cut to the axis, so that any grid fits.

    Args:
        volumes: What volumes are.
        columns: What the conditions are.
        channels: Channels of the convolutions.
        hidden: Widths of the fully connected layers.
        batch_norm: Whether there are norms over the batch.
    """

    def __init__(
        self,
        volumes: Volumes,
        columns: Columns,
        channels: Sequence[Count],
        hidden: Sequence[Count],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes, last = list(volumes.sizes), len(channels) - 1
        for number, (before, after) in enumerate(pairwise((1, *channels))):
            padding = PADDINGS[(number > 0) + (number == last)] if last else PADDINGS[0]
            kernel = triple(min(3, n + 2 * padding) for n in sizes)
            layers.append(nn.Conv3d(before, after, kernel, 2, padding, bias=False))
            layers += [nn.BatchNorm3d(after)] if batch_norm and 0 < number < last else []
            layers += [leaky()] if number < last else []
            sizes = conv_size(sizes, kernel, (2,) * 3, (padding,) * 3)
        self.body = nn.Sequential(*layers, nn.Flatten())
        width = channels[-1] * torch.Size(sizes).numel() + columns.width + volumes.shown
        self.head = MLP(width, 1, hidden, leaky)
        self.apply(narrow_init)

    def forward(self, shower: Tensor, known: Tensor) -> Verdict:
        """The verdict on volumes ``(B, 1, *sizes)``, with conditions and what is shown beside ``(B, K)``."""
        return Verdict(self.head(torch.cat([self.body(shower), known], dim=1)))
