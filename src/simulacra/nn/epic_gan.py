r"""Generator and critic of EPiC-GAN.

The generator embeds noise of the points and of the event, :math:`x_i = \lambda(W z_i)` and
:math:`g = \lambda(W_2 \lambda(W_1 z))`, and adds these first embeddings :math:`x_i^0, g^0` again after each
layer of :mod:`simulacra.nn.epic`:

.. math::
    (x_i, g) \leftarrow \mathrm{EPiC}(x_i, g) + (x_i^0, g^0).

The critic embeds points in two layers, starts its vector from their pools, and scores
:math:`[\mathrm{mean}_i x_i, s \sum_i x_i, g]`. Every linear layer is weight-normalised and sees the context.

Reference: Buhmann, Kasieczka, Thaler 2023, arXiv:2301.08128, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Positive
from simulacra.nn.cloud_gan import (
    CloudCritic,
    CloudGenerator,
    event_noise,
    filled,
    point_noise,
    weights,
)
from simulacra.nn.epic import SLOPE, EPiCLayer
from simulacra.nn.sets import WeightNormLinear, pooled, pooling


class EPiCGenerator(CloudGenerator):
    """See the module's docstring; 424,850 parameters at 3 features, without context and at the sizes of the
    paper.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        noise: Width of the noise of a point.
        hidden: Width of a point inside.
        latent: Width of the vector of the event, and of its noise.
        layers: Number of EPiC layers.
        sum_scale: Factor of the sum pool.
    """

    def __init__(
        self,
        features: int,
        context: int,
        noise: Count,
        hidden: Count,
        latent: Count,
        layers: Count,
        sum_scale: Positive,
    ) -> None:
        super().__init__()
        self.widths, self.sum_scale = (noise, latent), sum_scale
        self.local = WeightNormLinear(noise, context, hidden)
        self.global1 = WeightNormLinear(latent, context, hidden)
        self.global2 = WeightNormLinear(hidden, context, latent)
        self.layers = nn.ModuleList(
            EPiCLayer(hidden, latent, context, context) for _ in range(layers)
        )
        self.output = WeightNormLinear(hidden, context, features)

    def noise(self, mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Noise of the points ``(B, N, Z)`` and of the event ``(B, G)``."""
        points, event = self.widths
        return point_noise(mask, points, generator), event_noise(mask, event, generator)

    def forward(self, noise: tuple[Tensor, ...], mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)``, exactly 0 where padded."""
        points, event = noise
        weight, c = weights(mask, points), filled(context, points)
        pools = pooling(weight, self.sum_scale)
        x = first = F.leaky_relu(self.local(points, c), SLOPE)
        g = F.leaky_relu(self.global1(event, c), SLOPE)
        g = start = F.leaky_relu(self.global2(g, c), SLOPE)
        for layer in self.layers:
            x, g = layer(x, g, pools, c, c)
            x, g = x + first, g + start
        return self.output(x, c) * weight[:, 0, :, None]


class EPiCCritic(CloudCritic):
    """See the module's docstring; 313,170 parameters at 3 features, without context and at the sizes of the
    paper.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        hidden: Width of a point inside.
        latent: Width of the vector of the event.
        layers: Number of EPiC layers.
        sum_scale: Factor of the sum pools.
    """

    def __init__(
        self,
        features: int,
        context: int,
        hidden: Count,
        latent: Count,
        layers: Count,
        sum_scale: Positive,
    ) -> None:
        super().__init__()
        self.sum_scale = sum_scale
        self.local1 = WeightNormLinear(features, context, hidden)
        self.local2 = WeightNormLinear(hidden, context, hidden)
        self.global1 = WeightNormLinear(2 * hidden, context, hidden)
        self.global2 = WeightNormLinear(hidden, context, latent)
        self.layers = nn.ModuleList(
            EPiCLayer(hidden, latent, context, context) for _ in range(layers)
        )
        self.score1 = WeightNormLinear(2 * hidden + latent, context, hidden)
        self.score2 = WeightNormLinear(hidden, context, hidden)
        self.score3 = WeightNormLinear(hidden, context, 1)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)``."""
        weight, c = weights(mask, x), filled(context, x)
        pools = pooling(weight, self.sum_scale)
        h = F.leaky_relu(self.local1(x, c), SLOPE)
        h = F.leaky_relu(self.local2(h, c) + h, SLOPE)
        g = F.leaky_relu(self.global1(pooled(h, pools), c), SLOPE)
        g = F.leaky_relu(self.global2(g, c), SLOPE)
        for layer in self.layers:
            h, g = layer(h, g, pools, c, c)
        s = torch.cat([pooled(h, pools), g], -1)
        s = F.leaky_relu(self.score1(s, c), SLOPE)
        s = F.leaky_relu(self.score2(s, c) + s, SLOPE)
        score: Tensor = self.score3(s, c)
        return score
