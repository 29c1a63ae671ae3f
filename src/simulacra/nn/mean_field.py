r"""Attention to a mean field: generator and critic of MDMA.

One vector per event, the mean field :math:`z`, asks all points by multi-head attention; points see nothing
but it. A block, with context :math:`c` of the event:

.. math::
    h_i &= W_0 \lambda(x_i), \qquad z \leftarrow \mathrm{Attention}(\mathrm{LN}(W_0 \lambda(z)), h), \qquad
    z \leftarrow W_1 [z, c], \\
    x_i &\leftarrow x_i + W_2 [h_i, z], \qquad z \leftarrow \lambda(W_3 z),

with :math:`z = s \sum_i x_i` at the start. The cost is linear in the number of points.

Reference: Käch, Melzer-Pellmann 2023, arXiv:2305.15254.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Positive
from simulacra.nn.attention import Attention
from simulacra.nn.cloud_gan import CloudCritic, CloudGenerator, filled, point_noise, weights
from simulacra.nn.sets import SplitLinear, WeightNormLinear

SLOPE = 0.01
MakeLinear = Callable[[int, int, int], nn.Module]
"""From widths of input, context and output."""


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


class Gather(nn.Module):
    """First half of a block: what the mean field learns from the points.

    Args:
        width: ``H``, width of points and of the mean field between blocks.
        hidden: ``K``, width of the attention.
        context: ``C``, may be 0.
        heads: Number of heads, a divisor of ``K``.
        linear: Makes a linear layer.
    """

    def __init__(
        self, width: int, hidden: int, context: int, heads: int, linear: MakeLinear
    ) -> None:
        super().__init__()
        self.enter = linear(width, 0, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.attention = Attention(hidden, heads)
        self.mix = linear(hidden, context, hidden)

    def forward(self, x: Tensor, z: Tensor, mask: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Points ``(B, N, H)``, mean field ``(B, H)`` and mask ``(B, N)`` to ``(B, N, K)`` and ``(B, K)``."""
        nothing = context[:, :0]
        h = self.enter(_act(x), nothing)
        query = self.norm(self.enter(_act(z), nothing))
        answer = self.attention(query[:, None], h, mask)[:, 0]
        return h, self.mix(answer, context)


class MeanFieldBlock(nn.Module):
    """One block; the formula is in the module's docstring, the arguments are those of :class:`Gather`."""

    def __init__(
        self, width: int, hidden: int, context: int, heads: int, linear: MakeLinear
    ) -> None:
        super().__init__()
        self.gather = Gather(width, hidden, context, heads, linear)
        self.spread = linear(hidden, hidden, width)
        self.leave = linear(hidden, 0, width)

    def forward(self, x: Tensor, z: Tensor, mask: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Points ``(B, N, H)`` with mask ``(B, N)`` and mean field ``(B, H)``, to both."""
        h, z = self.gather(x, z, mask, context)
        return x + self.spread(h, z), _act(self.leave(z, context[:, :0]))


class MeanFieldGenerator(CloudGenerator):
    """Blocks from noise to points; the last mean field ends in the points.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        noise: Width of the noise of a point.
        width: Width of a point inside.
        hidden: Width of the attention.
        heads: Number of heads.
        blocks: Number of blocks.
        sum_scale: ``s``, factor of the first mean field.
    """

    def __init__(
        self,
        features: int,
        context: int,
        noise: Count,
        width: Count,
        hidden: Count,
        heads: Count,
        blocks: Count,
        sum_scale: Positive,
    ) -> None:
        super().__init__()
        self.noise_width, self.sum_scale = noise, sum_scale
        self.embedding = nn.Linear(noise, width)
        self.blocks = nn.ModuleList(
            MeanFieldBlock(width, hidden, context, heads, SplitLinear) for _ in range(blocks - 1)
        )
        self.last = Gather(width, hidden, context, heads, SplitLinear)
        self.spread = SplitLinear(hidden, hidden, width)
        self.output = nn.Linear(width, features)

    def noise(self, mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Noise of the points ``(B, N, Z)``."""
        return (point_noise(mask, self.noise_width, generator),)

    def forward(self, noise: tuple[Tensor, ...], mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)``, exactly 0 where padded."""
        (points,) = noise
        weight, c = weights(mask, points), filled(context, points)
        x = _act(self.embedding(points))
        z = self.sum_scale * torch.bmm(weight, x)[:, 0]
        for block in self.blocks:
            x, z = block(x, z, mask, c)
        h, z = self.last(x, z, mask, c)
        return self.output(_act(x + self.spread(h, z))) * weight[:, 0, :, None]


class MeanFieldCritic(CloudCritic):
    """Weight-normalised blocks; the score is that of the last mean field.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        width: Width of a point inside.
        hidden: Width of the attention.
        heads: Number of heads.
        blocks: Number of blocks.
        sum_scale: ``s``, factor of the first mean field.
    """

    def __init__(
        self,
        features: int,
        context: int,
        width: Count,
        hidden: Count,
        heads: Count,
        blocks: Count,
        sum_scale: Positive,
    ) -> None:
        super().__init__()
        self.sum_scale = sum_scale
        self.embedding = WeightNormLinear(features, 0, width)
        self.start = WeightNormLinear(width, context, width)
        self.blocks = nn.ModuleList(
            MeanFieldBlock(width, hidden, context, heads, WeightNormLinear)
            for _ in range(blocks - 1)
        )
        self.last = Gather(width, hidden, context, heads, WeightNormLinear)
        self.leave = WeightNormLinear(hidden, 0, width)
        self.score1 = WeightNormLinear(width, context, hidden)
        self.score2 = WeightNormLinear(hidden, 0, width)
        self.score3 = WeightNormLinear(width, 0, 1)

    def mean_field(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """The last mean field ``(B, H)``."""
        weight, c = weights(mask, x), filled(context, x)
        x = _act(self.embedding(x, c[:, :0]))
        z = _act(self.start(self.sum_scale * torch.bmm(weight, x)[:, 0], c))
        for block in self.blocks:
            x, z = block(x, z, mask, c)
        _, z = self.last(x, z, mask, c)
        return _act(self.leave(z, c[:, :0]))

    def of_mean_field(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)`` of mean fields ``(B, H)``."""
        c = filled(context, z)
        nothing = c[:, :0]
        s = _act(self.score2(_act(self.score1(_act(z), c)), nothing))
        score: Tensor = self.score3(s, nothing)
        return score

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)``."""
        return self.of_mean_field(self.mean_field(x, mask, context), context)
