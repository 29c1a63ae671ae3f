r"""Periodic columns as points of a plane that are normally distributed around its origin.

With the distribution function :math:`F` of the column between the ends of its period, which are one place,
:math:`\theta = 2 \pi F(x)` is uniform on the circle, and a radius :math:`r = \sqrt{-2 \ln(1 - \xi)}` with
:math:`\xi` uniform in (0, 1) makes :math:`(r \cos\theta, r \sin\theta)` a standard normal in two dimensions.
Nothing happens where the period ends, and the inverse needs the direction alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Field


class Circle(nn.Module):
    """See the module's docstring; columns ``(B, K)``, two in the plane for each.

    Args:
        fields: What the columns are; all are periodic.
        knots: Even pieces of the period, between whose ends ``F`` is linear.
    """

    low: Tensor
    period: Tensor
    reach: Tensor

    def __init__(self, fields: Sequence[Field], knots: int = 32) -> None:
        super().__init__()
        ends = [(field.low or 0.0, field.high or 0.0) for field in fields]
        lows, periods = [low for low, _ in ends], [high - low for low, high in ends]
        self.register_buffer("low", torch.tensor(lows, dtype=torch.float64), persistent=False)
        self.register_buffer("period", torch.tensor(periods, dtype=torch.float64), persistent=False)
        line = torch.linspace(0, 1, knots + 1, dtype=torch.float64)
        self.register_buffer("reach", line.repeat(len(fields), 1))  # F at the knots

    def fit(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Set ``F`` from rows ``(N, K)``; each piece of the period has one event in addition."""
        pieces = self.reach.shape[1] - 1
        events = torch.ones(len(x)) if weight is None else weight.abs()
        events = events.double() * len(x) / events.sum()
        place = (self._share(x) * pieces).long().clamp(0, pieces - 1)
        for i, column in enumerate(place.T):
            counts = 1 + torch.bincount(column.cpu(), events.cpu(), minlength=pieces)
            self.reach[i, 1:] = (counts.cumsum(0) / counts.sum()).to(self.reach.device)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Physical values to points ``(B, 2 K)``, float64; ``noise`` ``(B, K)`` is uniform in [0, 1)."""
        pieces = self.reach.shape[1] - 1
        at = self._share(x) * pieces
        left = at.long().clamp(0, pieces - 1).T
        low, high = self.reach.gather(1, left), self.reach.gather(1, left + 1)
        angle = 2 * math.pi * (low + (at.T - left) * (high - low)).T
        radius = (-2 * torch.log1p(-noise.double().clamp(1e-6, 1 - 1e-6))).sqrt()
        return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)

    def inverse(self, y: Tensor) -> Tensor:
        """Points to physical values ``(B, K)``, float64, within one period."""
        first, second = y.double().chunk(2, 1)
        share = torch.remainder(torch.atan2(second, first) / (2 * math.pi), 1.0).T.contiguous()
        pieces = self.reach.shape[1] - 1
        left = (torch.searchsorted(self.reach, share, right=True) - 1).clamp(0, pieces - 1)
        low, high = self.reach.gather(1, left), self.reach.gather(1, left + 1)
        at = (left + (share - low) / (high - low)) / pieces
        return self.low + self.period * at.T

    def _share(self, x: Tensor) -> Tensor:
        """Place in the period, in [0, 1)."""
        return torch.remainder(x.double() - self.low, self.period) / self.period
