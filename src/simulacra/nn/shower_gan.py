"""The three networks of the "Getting High" Wasserstein GAN (arXiv:2005.05334), for any regular grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import draws
from simulacra.core.ranges import Count, NotNegative
from simulacra.nn.conv import ConvDown3d, ConvHead3d, ConvUp3d, triple
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.mlp import MLP
from simulacra.nn.verdicts import Verdict
from simulacra.nn.volumes import Volumes, as_volume, leaky, narrow_init, sum_of


class ShowerGenerator(nn.Module):
    """Latent vector and conditions to a volume; each enters through its own transposed convolution.

    Args:
        volumes: What volumes are.
        columns: What the conditions are.
        latent: Length of the latent vector.
        width: Channels that each of the two inputs gets at the coarsest size.
        channels: Channels after each doubling.
        head_stride: 1, or 2 for an output layer that doubles once more.
        noise: Whether each cell has its own Gaussian noise of learned width.
        cell_gain: Factor on a learned bias per cell, 0 for none.
        response: Widths of the network that draws the sum of all cells; None: there is none.
    """

    def __init__(
        self,
        volumes: Volumes,
        columns: Columns,
        latent: Count,
        width: Count,
        channels: Sequence[Count],
        head_stride: Count,
        noise: bool,
        cell_gain: NotNegative,
        response: Sequence[Count] | None,
    ) -> None:
        super().__init__()
        sizes, cond = volumes.sizes, columns.width
        start = triple(-(-n // (head_stride * 2 ** len(channels))) for n in sizes)
        self.latent, self.cond = latent, cond
        self.noise = noise
        self.from_cond = nn.ConvTranspose3d(cond, width, start, bias=False)
        self.sum = sum_of(volumes, cond, response)
        self.from_latent = nn.ConvTranspose3d(latent + self.sum.width, width, start, bias=False)
        self.body = ConvUp3d(2 * width, start, channels)
        self.head = ConvHead3d(channels[-1], 2 if noise else 1, self.body.sizes, sizes, head_stride)
        self.cells = nn.Parameter(torch.zeros(2 if noise else 1, *sizes)) if cell_gain > 0 else None
        self.cell_gain = cell_gain
        self.apply(narrow_init)

    def forward(self, n: int, cond: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``n`` volumes ``(n, 1, *sizes)``, non-negative, for conditions ``(n, C)``."""
        given = cond[:, : self.cond]
        z = 2 * draws.uniform((n, self.latent), cond, generator) - 1
        r = self.sum.draw(cond, generator)
        z = torch.cat([z, r], dim=1)
        both = torch.cat([self.from_cond(as_volume(given)), self.from_latent(as_volume(z))], dim=1)
        out = self.head(self.body(torch.relu(both)))
        if self.cells is not None:
            out = out + self.cell_gain * self.cells
        if self.noise:
            mean, log_width = out.chunk(2, dim=1)
            out = mean + log_width.exp() * draws.normal(mean.shape, cond, generator)
        return self.sum(torch.relu(out), r, cond)


class ShowerCritic(nn.Module):
    """Volume and conditions to a score.

    Args:
        volumes: What volumes are.
        columns: What the conditions are.
        channels: Channels of the convolutions.
        depths: Kernel of each along the depth; it is 2 along the other axes.
        strides: Stride of each convolution along the depth; it is 2 along the other axes, 1 in the last
            convolution.
        hidden: Widths of the fully connected layers.
    """

    def __init__(
        self,
        volumes: Volumes,
        columns: Columns,
        channels: Sequence[Count],
        depths: Sequence[Count],
        strides: Sequence[Count],
        hidden: Sequence[Count],
    ) -> None:
        super().__init__()
        last = len(channels) - 1
        self.body = ConvDown3d(
            1,
            volumes.sizes,
            channels,
            kernels=[(depth, 2, 2) for depth in depths],
            strides=[(s, 2, 2) if i < last else (s, 1, 1) for i, s in enumerate(strides)],
            paddings=[(0, 1, 1) if i == 0 else (0, 0, 0) for i in range(last + 1)],
        )
        self.head = MLP(self.body.features + columns.width + volumes.shown, 1, hidden, leaky)
        self.apply(narrow_init)

    def forward(self, shower: Tensor, known: Tensor) -> Verdict:
        """The verdict on volumes ``(B, 1, *sizes)``, with conditions and what is shown beside ``(B, K)``."""
        return Verdict(self.head(torch.cat([self.body(shower).flatten(1), known], dim=1)))


class EnergyConstrainer(nn.Module):
    """Volume to incident energy, in units of the largest.

    Args:
        sizes: Cells per axis.
        channels: Channels of the three convolutions.
        hidden: Width of the fully connected layer.
    """

    def __init__(self, sizes: Sequence[int], channels: Sequence[Count], hidden: Count) -> None:
        super().__init__()
        self.body = ConvDown3d(
            1,
            sizes,
            channels,
            [(3,) * 3, (3,) * 3, (2,) * 3],
            [(2,) * 3, (2,) * 3, (1,) * 3],
            [(0,) * 3] * 3,
        )
        self.head = MLP(self.body.features, 1, [hidden], leaky)

    def forward(self, shower: Tensor) -> Tensor:
        """Energies ``(B, 1)`` of ``(B, 1, *sizes)``."""
        return self.head(self.body(shower).flatten(1))
