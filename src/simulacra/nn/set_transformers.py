r"""Generators and critics of attention blocks: GAPT, of attention among all points, and iGAPT, of attention
through one vector of the event.

GAPT's generator embeds the noise of each point and applies SABs; its critic pools by PMA. iGAPT's generator
carries a vector of the event that starts from noise and context; the one of its critic starts from the pools
of the embedded points, and gives the score. Blocks: :mod:`simulacra.nn.set_attention`.

Reference: Kansal et al. 2023, arXiv:2211.10295; Li et al. 2023, arXiv:2312.04757.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Dropout, Positive
from simulacra.nn.cloud_gan import (
    Bounded,
    CloudCritic,
    CloudGenerator,
    event_noise,
    filled,
    point_noise,
    weights,
)
from simulacra.nn.groups import in_groups
from simulacra.nn.set_attention import IPAB, MAB, PMA, SLOPE
from simulacra.nn.sets import SplitLinear, pool


def _score(width: int, squash: bool) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 1), *([nn.Sigmoid()] if squash else []))


class AttentionGenerator(CloudGenerator):
    """SABs from noise to points.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        noise: Width of the noise of a point.
        width: Width of a point inside.
        heads: Number of heads.
        blocks: Number of SABs.
        norm: Whether sums are layer-normalised.
        bound: Largest magnitude of a generated number.
    """

    def __init__(
        self,
        features: int,
        context: int,
        noise: Count,
        width: Count,
        heads: Count,
        blocks: Count,
        norm: bool,
        bound: Positive,
    ) -> None:
        super().__init__()
        self.noise_width, self.width = noise, width
        self.embedding = SplitLinear(noise, context, width)
        self.blocks = nn.ModuleList(
            MAB(width, width, context, heads, norm, 0.0) for _ in range(blocks)
        )
        self.output = nn.Sequential(nn.Linear(width, features), Bounded(bound))

    def noise(self, mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Noise of the points ``(B, N, Z)``."""
        return (point_noise(mask, self.noise_width, generator),)

    def forward(self, noise: tuple[Tensor, ...], mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)``, exactly 0 where padded."""
        (z,) = noise
        return in_groups(self._of_group, 3 * self.width, z, mask, (filled(context, z),))

    def _of_group(self, z: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        x = F.leaky_relu(self.embedding(z, context), SLOPE)
        for block in self.blocks:
            x = block(x, x, mask, context)
        return self.output(x) * mask[..., None]


class AttentionCritic(CloudCritic):
    """SABs, PMA and a linear score.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        width: Width of a point inside.
        heads: Number of heads.
        blocks: Number of SABs.
        norm: Whether sums are layer-normalised.
        dropout: Dropout probability.
        squash: Whether scores go through a sigmoid.
    """

    def __init__(
        self,
        features: int,
        context: int,
        width: Count,
        heads: Count,
        blocks: Count,
        norm: bool,
        dropout: Dropout,
        squash: bool,
    ) -> None:
        super().__init__()
        self.embedding = SplitLinear(features, context, width)
        self.blocks = nn.ModuleList(
            MAB(width, width, context, heads, norm, dropout) for _ in range(blocks)
        )
        self.pool = PMA(width, context, heads, norm, dropout)
        self.score = _score(width, squash)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)``."""
        c = filled(context, x)
        x = F.leaky_relu(self.embedding(x, c), SLOPE)
        for block in self.blocks:
            x = block(x, x, mask, c)
        score: Tensor = self.score(self.pool(x, mask, c))
        return score


class InducedGenerator(CloudGenerator):
    """IPABs from noise to points.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        width: Width of a point inside, and of its noise.
        event: Width of the event's vector, and of its noise.
        heads: Number of heads.
        blocks: Number of IPABs.
        norm: Whether sums are layer-normalised.
        bound: Largest magnitude of a generated number.
    """

    def __init__(
        self,
        features: int,
        context: int,
        width: Count,
        event: Count,
        heads: Count,
        blocks: Count,
        norm: bool,
        bound: Positive,
    ) -> None:
        super().__init__()
        self.widths = width, event
        self.embedding = SplitLinear(width, context, width)
        self.start = SplitLinear(event, context, event)
        self.blocks = nn.ModuleList(
            IPAB(width, event, context, heads, norm, 0.0) for _ in range(blocks)
        )
        self.output = nn.Sequential(nn.Linear(width, features), Bounded(bound))

    def noise(self, mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Noise of the points ``(B, N, H)`` and of the event ``(B, E)``."""
        points, event = self.widths
        return point_noise(mask, points, generator), event_noise(mask, event, generator)

    def forward(self, noise: tuple[Tensor, ...], mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)``, exactly 0 where padded."""
        points, event = noise
        given = event, filled(context, points)
        return in_groups(self._of_group, 3 * self.widths[0], points, mask, given)

    def _of_group(self, points: Tensor, mask: Tensor, event: Tensor, context: Tensor) -> Tensor:
        x = F.leaky_relu(self.embedding(points, context), SLOPE)
        z = self.start(event, context)[:, None]
        for block in self.blocks:
            x, z = block(x, z, mask, context)
        return self.output(x) * mask[..., None]


class InducedCritic(CloudCritic):
    """IPABs, of the last of which only the event's vector is used, and a linear score.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        width: Width of a point inside.
        event: Width of the event's vector.
        heads: Number of heads.
        blocks: Number of IPABs.
        norm: Whether sums are layer-normalised.
        dropout: Dropout probability.
        sum_scale: Factor of the sum pool that the event's vector starts from.
        squash: Whether scores go through a sigmoid.
    """

    def __init__(
        self,
        features: int,
        context: int,
        width: Count,
        event: Count,
        heads: Count,
        blocks: Count,
        norm: bool,
        dropout: Dropout,
        sum_scale: Positive,
        squash: bool,
    ) -> None:
        super().__init__()
        self.sum_scale = sum_scale
        self.embedding = SplitLinear(features, context, width)
        self.start = SplitLinear(2 * width, context, event)
        self.blocks = nn.ModuleList(
            IPAB(width, event, context, heads, norm, dropout) for _ in range(blocks - 1)
        )
        self.last = MAB(event, width, context, heads, norm, dropout)
        self.score = _score(event, squash)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)``."""
        c = filled(context, x)
        x = F.leaky_relu(self.embedding(x, c), SLOPE)
        z = self.start(pool(x, weights(mask, x), self.sum_scale), c)[:, None]
        for block in self.blocks:
            x, z = block(x, z, mask, c)
        score: Tensor = self.score(self.last(z, x, mask, c)[:, 0])
        return score
