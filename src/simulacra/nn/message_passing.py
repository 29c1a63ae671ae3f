r"""Message passing between all points of a cloud: generator and critic of MPGAN.

One layer, with fully connected networks :math:`f_e, f_n`, context :math:`c` and a sum over real points
(:math:`i` itself among them):

.. math::
    A_i = s \sum_j f_e(h_i, h_j, c), \qquad h_i' = f_n(A_i, h_i, c).

The first linear layer of :math:`f_e` is a sum over its inputs, so it is evaluated once per point, and only
its activation and what follows once per pair, for as many pairs at once as fit the cache of a processor.

Reference: Kansal et al. 2021, arXiv:2106.11535, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count, Dropout, NotNegative, Positive
from simulacra.nn.cloud_gan import (
    Bounded,
    CloudCritic,
    CloudGenerator,
    filled,
    point_noise,
    weights,
)
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.groups import at_once
from simulacra.nn.sets import SplitLinear

SLOPE = 0.2


class MessagePassing(nn.Module):
    """One layer; the formula is in the module's docstring.

    Args:
        inputs: Width of a point.
        context: ``C``, width of the context, may be 0.
        edges: Widths of the layers of ``f_e``, all followed by an activation.
        nodes: Widths of the hidden layers of ``f_n``.
        outputs: Width of a point after the layer.
        sum_scale: ``s``, factor of the sum of messages.
        dropout: Probability to drop a hidden unit while training.
    """

    def __init__(
        self,
        inputs: int,
        context: int,
        edges: Sequence[int],
        nodes: Sequence[int],
        outputs: int,
        sum_scale: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.sum_scale, self.widest = sum_scale, max(edges)
        self.receiver = SplitLinear(inputs, context, edges[0])
        self.sender = nn.Linear(inputs, edges[0], bias=False)
        self.message = _activated(edges, dropout)
        self.node = SplitLinear(edges[-1] + inputs, context, nodes[0])
        self.update = nn.Sequential(_activated(nodes, dropout), nn.Linear(nodes[-1], outputs))

    def forward(self, h: Tensor, weight: Tensor, context: Tensor) -> Tensor:
        """``(B, N, I)`` with weights ``(B, 1, N)`` and context ``(B, C)`` to ``(B, N, O)``."""
        received = self._received(self.receiver(h, context), self.sender(h), weight)
        both = torch.cat([self.sum_scale * received, h], -1)
        result: Tensor = self.update(self.node(both, context))
        return result

    def _received(self, receiver: Tensor, sender: Tensor, weight: Tensor) -> Tensor:
        """Sums of messages ``(B, N, E)``, for some receivers of some events after the other."""
        batch, points = sender.shape[:2]
        rows = at_once(points * self.widest, sender)
        if rows is None or batch * points <= rows:
            return self._summed(receiver, sender, weight)
        events = max(1, rows // points)
        parts = (part.split(events) for part in (receiver, sender, weight))
        return torch.cat(
            [
                torch.cat([self._summed(some, from_, w) for some in to.split(rows, 1)], 1)
                for to, from_, w in zip(*parts, strict=True)
            ]
        )

    def _summed(self, receiver: Tensor, sender: Tensor, weight: Tensor) -> Tensor:
        """The same of receivers ``(B, M, E)`` and senders ``(B, N, E)``."""
        pairs = receiver[:, :, None] + sender[:, None]  # (B, M, N, E)
        return (weight[:, None] @ _by_rows(self.message, pairs))[:, :, 0]


def _by_rows(layers: nn.Sequential, pairs: Tensor) -> Tensor:
    """What layers make of pairs ``(B, M, N, E)``. They see them as rows: a linear layer gives back a view of
    anything else, and what writes in place to a view has the backward pass copy all of it.
    """
    first, *others = layers
    rows = first(pairs).flatten(0, 2)
    for layer in others:
        rows = layer(rows)
    made: Tensor = rows.unflatten(0, pairs.shape[:3])
    return made


def _activated(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers between the widths, with an activation before the first and after each of them, in the
    place of what it is called with.
    """

    def activation() -> list[nn.Module]:
        return [nn.LeakyReLU(SLOPE, inplace=True), *([RandomDrop(dropout)] if dropout > 0 else [])]

    layers = activation()
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), *activation()]
    return nn.Sequential(*layers)


class MPGenerator(CloudGenerator):
    """Message passing from noise to points.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        width: Width of a point between layers, and of its noise.
        layers: Number of layers.
        edges: Widths of the layers of ``f_e``.
        nodes: Widths of the hidden layers of ``f_n``.
        noise_std: Standard deviation of the noise.
        bound: Largest magnitude of a generated number.
        sum_scale: Factor of the sum of messages.
    """

    def __init__(
        self,
        features: int,
        context: int,
        width: Count,
        layers: Count,
        edges: Sequence[Count],
        nodes: Sequence[Count],
        noise_std: NotNegative,
        bound: Positive,
        sum_scale: Positive,
    ) -> None:
        super().__init__()
        self.width, self.noise_std = width, noise_std
        self.layers = nn.ModuleList(
            MessagePassing(width, context, edges, nodes, outputs, sum_scale, 0.0)
            for outputs in [width] * (layers - 1) + [features]
        )
        self.bounded = Bounded(bound)

    def noise(self, mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Noise of the points ``(B, N, W)``."""
        return (self.noise_std * point_noise(mask, self.width, generator),)

    def forward(self, noise: tuple[Tensor, ...], mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)``, exactly 0 where padded."""
        (h,) = noise
        weight, c = weights(mask, h), filled(context, h)
        for layer in self.layers:
            h = layer(h, weight, c)
        return self.bounded(h) * weight[:, 0, :, None]


class MPCritic(CloudCritic):
    """Message passing, the sum over real points, and a linear score.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, width of the context, may be 0.
        width: Width of a point after each layer.
        layers: Number of layers.
        edges: Widths of the layers of ``f_e``.
        nodes: Widths of the hidden layers of ``f_n``.
        dropout: Probability to drop a hidden unit while training.
        sum_scale: Factor of the sums of messages and of points.
        squash: Whether scores go through a sigmoid.
    """

    def __init__(
        self,
        features: int,
        context: int,
        width: Count,
        layers: Count,
        edges: Sequence[Count],
        nodes: Sequence[Count],
        dropout: Dropout,
        sum_scale: Positive,
        squash: bool,
    ) -> None:
        super().__init__()
        self.sum_scale = sum_scale
        self.layers = nn.ModuleList(
            MessagePassing(inputs, context, edges, nodes, width, sum_scale, dropout)
            for inputs in [features] + [width] * (layers - 1)
        )
        self.score = nn.Sequential(nn.Linear(width, 1), *([nn.Sigmoid()] if squash else []))

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)``."""
        weight, c = weights(mask, x), filled(context, x)
        for layer in self.layers:
            x = layer(x, weight, c)
        score: Tensor = self.score(self.sum_scale * torch.bmm(weight, x)[:, 0])
        return score
