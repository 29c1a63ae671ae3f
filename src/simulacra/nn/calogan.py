"""Generator and critic of CaloGAN (arXiv:1712.10321): a stream of images per layer, which see others."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import Geometry
from simulacra.core.ranges import Count, NotNegative, Whole
from simulacra.nn.latent_vectors import Columns, MakeLatent
from simulacra.nn.local_critic import MakeFeatures, same_conv
from simulacra.nn.locally_connected import LocallyConnected2d
from simulacra.nn.minibatch import MinibatchDiscrimination
from simulacra.nn.mlp import MLP
from simulacra.nn.verdicts import Judge, Verdict, leaky

RESERVE = -10.0
"""Bias of the logit of what the last layer carries over: at first a layer is its own."""


def overlaps(source: Sequence[float], target: Sequence[float]) -> Tensor:
    """Shares of target bins that lie in source bins, ``(target bins, source bins)``.

    Args:
        source: Rising edges.
        target: Rising edges.
    """
    low = torch.tensor([source[:-1], source[1:]], dtype=torch.float64)  # (2, S)
    high = torch.tensor([target[:-1], target[1:]], dtype=torch.float64)[..., None]  # (2, T, 1)
    common = torch.minimum(low[1], high[1]) - torch.maximum(low[0], high[0])
    return (common.clamp_min(0) / (high[1] - high[0])).float()


class Stream(nn.Module):
    """Latent vector to the image ``(B, 1, rows, cols)`` of one layer, on a linear scale, of either sign.

    Args:
        size: Rows and columns.
        inputs: Length of the latent vector.
        hidden: Widths of layers before the image.
        channels: Channels of the first image, after the convolution and after the first of two locally
            connected layers, all with kernel 2.
        batch_norm: Whether normalisation over the batch follows the convolution.
    """

    def __init__(
        self,
        size: tuple[int, int],
        inputs: int,
        hidden: Sequence[Count],
        channels: tuple[Count, Count, Count],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        start, conv, local = channels
        large = [n + 2 for n in size]
        first = LocallyConnected2d(large, conv, local, (2, 2))
        norm = [nn.BatchNorm2d(conv)] if batch_norm else []
        self.layers = nn.Sequential(
            MLP(inputs, start * math.prod(large), hidden, leaky), nn.Unflatten(1, (start, *large)),
            same_conv(start, conv, 2), leaky(), *norm,
            first, leaky(), LocallyConnected2d(first.size, local, 1, (2, 2), bias=False),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        """See the class."""
        return self.layers(h)


class LayerAttention(nn.Module):
    """An image mixed with the one before it, ``w_own * own + w_carried * carried`` with weights per cell.

    The image before is brought to the cells by the mean over what each covers of it. Weights are a softmax
    over a locally connected layer that sees both.

    Args:
        before: Edges of the rows and of the columns of the layer before.
        own: Those of the layer.
    """

    rows: Tensor
    cols: Tensor

    def __init__(self, before: Sequence[Sequence[float]], own: Sequence[Sequence[float]]) -> None:
        super().__init__()
        for name, source, target in zip(("rows", "cols"), before, own, strict=True):
            self.register_buffer(name, overlaps(source, target), persistent=False)
        size = [len(edges) - 1 for edges in own]
        self.weigh = LocallyConnected2d(size, 2, 2, (3, 3), padding=(1, 1))
        assert self.weigh.bias is not None
        with torch.no_grad():
            self.weigh.bias[:, 1] = RESERVE

    def forward(self, own: Tensor, before: Tensor) -> Tensor:
        """Mix images ``(B, 1, rows, cols)`` and ``(B, 1, rows', cols')``."""
        both = torch.cat([own, self.rows @ before @ self.cols.T], dim=1)
        return (self.weigh(both).softmax(1) * both).sum(1, keepdim=True)


class CaloGANGenerator(nn.Module):
    """Latent vector to cells ``(B, V)``, at least 0; layers are mixed before the ReLU that makes zeros.

    Args:
        geometry: The layers.
        columns: What the conditions are.
        latent: Makes the latent vector.
        hidden: Of each :class:`Stream`, as the next two.
        channels: See there.
        batch_norm: See there.
    """

    def __init__(
        self,
        geometry: Geometry,
        columns: Columns,
        latent: MakeLatent,
        hidden: Sequence[Count],
        channels: tuple[Count, Count, Count],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.latent = latent(columns)
        layers = geometry.layers
        self.streams = nn.ModuleList(
            Stream(layer.shape, self.latent.width, hidden, channels, batch_norm) for layer in layers
        )
        self.attentions = nn.ModuleList(
            LayerAttention(a.edges, b.edges) for a, b in pairwise(layers)
        )

    def forward(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Cells of ``n`` showers for conditions ``(n, C)``."""
        h = self.latent(n, cond, next(self.parameters()), generator)
        images = [stream(h) for stream in self.streams]
        for number, attention in enumerate(self.attentions, 1):
            images[number] = attention(images[number], images[number - 1])
        return torch.relu(self.geometry.join([image[:, 0] for image in images]))


class EnergySummary(nn.Module, ABC):
    """What a critic sees of the energies of layers ``(B, L)`` and the incident one ``(B, 1)`` [GeV]."""

    @abstractmethod
    def width(self, layers: int) -> int:
        """Columns that it makes."""

    @abstractmethod
    def forward(self, layers: Tensor, energy: Tensor) -> Tensor:
        """The columns ``(B, K)``."""


class EnergySums(EnergySummary):
    """As published: layers, their sum, and by how much it misses the incident energy.

    Args:
        miss: From where on a shower is marked as missing it [GeV].
    """

    def __init__(self, miss: NotNegative) -> None:
        super().__init__()
        self.miss = miss

    def width(self, layers: int) -> int:
        """See :class:`EnergySummary`."""
        return layers + 3

    def forward(self, layers: Tensor, energy: Tensor) -> Tensor:
        """See :class:`EnergySummary`."""
        total = layers.sum(1, keepdim=True)
        gap = (total - energy).abs()
        return torch.cat([layers / 10, total / 100, gap, 10.0 * (gap > self.miss)], dim=1)


class Responses(EnergySummary):
    """Of our own, alike at all energies: logarithms of layers over the incident energy, and of that.

    Args:
        least: Added to the share of a layer, so that an empty one has a logarithm.
    """

    def __init__(self, least: NotNegative) -> None:
        super().__init__()
        self.least = least

    def width(self, layers: int) -> int:
        """See :class:`EnergySummary`."""
        return layers + 2

    def forward(self, layers: Tensor, energy: Tensor) -> Tensor:
        """See :class:`EnergySummary`."""
        shares = layers / energy
        logs = torch.log(torch.cat([shares, shares.sum(1, keepdim=True)], dim=1) + self.least)
        return torch.cat([logs, energy.log()], dim=1)


class CaloGANCritic(nn.Module):
    """Showers to a verdict, by images, hits and energies of their layers.

    Args:
        geometry: The layers.
        columns: What the conditions are: it is asked for the class, and sees what is neither that nor the
            incident energy, which it sees as ``energies`` shows it.
        features: Makes the local features of a layer from its rows and columns.
        energies: What it sees of the energies of layers.
        hit: Energy of half a hit [GeV], so that a cell counts as ``v / (v + hit)``; 0: cells above zero are
            counted, which gives a generator no gradient.
        kernels: Kernels of each of the minibatch discriminations of features, hits and energies; 0 for none.
        dim: Rows of each of them.
        hidden: Widths of the layers before the verdict.
    """

    def __init__(
        self,
        geometry: Geometry,
        columns: Columns,
        features: MakeFeatures,
        energies: EnergySummary,
        hit: NotNegative,
        kernels: Whole,
        dim: Count,
        hidden: Sequence[Count],
    ) -> None:
        super().__init__()
        self.geometry, self.energies, self.hit = geometry, energies, hit
        self.others = list(columns.others)
        local = [features(layer.shape) for layer in geometry.layers]
        self.features = nn.ModuleList(local)
        layers = len(geometry)
        seen = [sum(part.features for part in local), layers, energies.width(layers)]
        self.across = nn.ModuleList(
            MinibatchDiscrimination(width, kernels, dim) for width in seen if kernels
        )
        width = sum(seen) + kernels * len(seen) + len(self.others)
        self.judge = Judge(width, len(columns.classes), hidden)

    def forward(self, shower: Tensor, cells: Tensor, energy: Tensor, cond: Tensor) -> Verdict:
        """The verdict.

        Args:
            shower: Cells on the scale of the networks ``(B, V)``.
            cells: Their energies [GeV] ``(B, V)``.
            energy: Incident energies [GeV] ``(B, 1)``.
            cond: Conditions ``(B, C)``.
        """
        images = zip(self.features, self.geometry.split(shower), strict=True)
        seen = [
            torch.cat([part(image[:, None]) for part, image in images], dim=1),
            self.hits(cells),
            self.energies(self.geometry.layer_sums(cells), energy),
        ]
        alike = [torch.tanh(part(x)) for part, x in zip(self.across, seen, strict=False)]
        return self.judge(torch.cat([*seen, *alike, cond[:, self.others]], dim=1))

    def hits(self, cells: Tensor) -> Tensor:
        """Shares of the cells of each layer that are hit ``(B, L)``."""
        found = cells / (cells + self.hit) if self.hit else (cells > 0).to(cells)
        return self.geometry.layer_sums(found) / found.new_tensor(self.geometry.sizes)
