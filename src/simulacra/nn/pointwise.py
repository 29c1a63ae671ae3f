r"""PointWise networks: points that see their event and the time, and not each other.

A ConcatSquash layer is gated and moved by the context :math:`c` of the event,

.. math:: y_i = \sigma(W_g c + b_g) \odot (W x_i + b) + W_b c,

so that gate and shift are computed once per event and the cost is linear in the number of points. The gate
is taken into the matrix, :math:`y_i = (\sigma(W_g c + b_g) \odot W)\, x_i + \dots`: one of an event's own, so
that points are passed over once.

Reference: Luo and Hu 2021, arXiv:2103.01458, as in CaloClouds, arXiv:2305.04847, and CaloClouds II,
arXiv:2309.05704.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Positive
from simulacra.nn.time_features import TimeFeatures

SLOPE = 0.01


class ConcatSquash(nn.Module):
    """One layer; the formula is in the module's docstring.

    Args:
        inputs: ``I``.
        context: ``C``.
        outputs: ``O``.
    """

    def __init__(self, inputs: int, context: int, outputs: int) -> None:
        super().__init__()
        self.point = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(context, outputs)
        self.shift = nn.Linear(context, outputs, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Points ``(B, N, I)`` and context ``(B, C)`` to ``(B, N, O)``."""
        gate = torch.sigmoid(self.gate(context))
        shift = gate * self.point.bias + self.shift(context)
        own = gate[:, :, None] * self.point.weight  # (B, O, I)
        return torch.baddbmm(shift[:, None], x, own.transpose(1, 2))


class GaussianFourier(TimeFeatures):
    r"""A layer on features of a number, :math:`(\cos 2\pi w_k t, \sin 2\pi w_k t)` with fixed
    :math:`w_k \sim N(0, s^2)`.

    A preconditioned network is told :math:`t = \ln(\sigma / \sigma_{max}) / \ln(\sigma_{min} /
    \sigma_{max})`. CaloClouds II takes :math:`s = 16` for :math:`\ln(\sigma) / 4`, which is
    :math:`s = 16 \ln(\sigma_{max} / \sigma_{min}) / 4` for ``t``, 42.4 on the path from 80 to 0.002: the
    offset turns each pair of features by a fixed angle, which the layer undoes.

    Args:
        frequencies: Number of :math:`w_k`, half the number of features.
        std: ``s``.
        outputs: Width of the layer.
    """

    weights: Tensor

    def __init__(self, frequencies: Count, std: Positive, outputs: Count) -> None:
        super().__init__()
        self.width = outputs
        self.register_buffer("weights", 2 * math.pi * std * torch.randn(frequencies))
        self.layer = nn.Linear(2 * frequencies, outputs)

    def features(self, t: Tensor) -> Tensor:
        """``(B,)`` to ``(B, outputs)``."""
        angle = t[:, None] * self.weights
        return F.leaky_relu(self.layer(torch.cat([angle.cos(), angle.sin()], 1)), SLOPE)


class BetaFeatures(TimeFeatures):
    r"""Features :math:`(\beta, \sin \beta, \cos \beta)` of the noise that a discrete chain adds at a
    time, see :class:`simulacra.dynamics.paths.BetaPath`.

    Args:
        steps: Steps of the chain.
        low: First :math:`\beta`.
        high: Last one.
    """

    def __init__(self, steps: Count, low: Positive, high: Positive) -> None:
        super().__init__()
        self.width = 3
        self.steps, self.ends = steps, (math.sqrt(low), math.sqrt(high))

    def features(self, t: Tensor) -> Tensor:
        """Times ``(B,)``, 1 at data, to ``(B, 3)``."""
        first, last = self.ends
        place = ((1 - t) * self.steps - 1).clamp_min(0) / max(self.steps - 1, 1)
        beta = (first + place * (last - first)).square()
        return torch.stack([beta, beta.sin(), beta.cos()], 1)


class PointWise(nn.Module):
    """Points through ConcatSquash layers with LeakyReLU between them.

    Of the widths 128, 256, 512, 256, 128, with 4 features, two conditions and 64 features of the time, it has
    504,920 parameters (arXiv:2309.05704: 505k).

    Args:
        features: ``F``, columns of a point.
        cond: ``C``, width of the context of the event, may be 0.
        hidden: Widths between the layers.
        time: Features of the time; it has a ``width``.
        residual: Whether the points are added to the result.
    """

    def __init__(
        self,
        features: int,
        cond: int,
        hidden: Sequence[Count],
        time: GaussianFourier | BetaFeatures,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.time, self.residual = time, residual
        widths = [features, *hidden, features]
        self.layers = nn.ModuleList(
            ConcatSquash(a, time.width + cond, b) for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, N, F)``, exactly 0 at padded points.

        Args:
            x: Points ``(B, N, F)``; padded ones may hold anything finite.
            t: Number ``(B,)`` that tells the time.
            mask: Real points, bool ``(B, N)``.
            context: ``(B, C)``, or None where ``C`` is 0.
        """
        time = self.time(t)
        given = time if context is None else torch.cat([time, context], 1)
        h = x
        for number, layer in enumerate(self.layers):
            h = layer(h if number == 0 else F.leaky_relu_(h, SLOPE), given)
        return (x + h if self.residual else h) * mask[..., None].to(h.dtype)
