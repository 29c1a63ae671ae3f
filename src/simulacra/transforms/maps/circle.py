r"""Periodic columns as points of a plane that are normally distributed around its origin.

With the distribution function :math:`F` of the column between the ends of its period, which are one place,
:math:`\theta = 2 \pi F(x)` is uniform on the circle, and a radius :math:`r = \sqrt{-2 \ln(1 - \xi)}` with
:math:`\xi` uniform in (0, 1) makes :math:`(r \cos\theta, r \sin\theta)` a standard normal in two dimensions.
Nothing happens where the period ends, and the inverse needs the direction alone.

A column that follows an earlier one, as the azimuth of what recoils against a jet follows the jet's, is taken
relative to it: of all :math:`\theta_k - s\,\theta_j` with :math:`s = \pm 1` the one with the longest mean
vector, if that is longer by ``FOLLOWS`` than the one of :math:`\theta_k` itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Field

EVEN = 0.001
"""Mass that is spread evenly over the period."""
FOLLOWS = 0.1
"""Length of a mean vector, 0 for even angles and 1 for a single one, that a relative angle must gain."""


class Circle(nn.Module):
    """See the module's docstring; columns ``(B, K)``, two in the plane for each.

    Args:
        fields: What the columns are; all are periodic.
        knots: Even pieces of the period, between whose ends ``F`` is linear.
    """

    low: Tensor
    period: Tensor
    reach: Tensor
    sign: Tensor

    def __init__(self, fields: Sequence[Field], knots: int = 128) -> None:
        super().__init__()
        ends = [(field.low or 0.0, field.high or 0.0) for field in fields]
        lows, periods = [low for low, _ in ends], [high - low for low, high in ends]
        self.register_buffer("low", torch.tensor(lows, dtype=torch.float64), persistent=False)
        self.register_buffer("period", torch.tensor(periods, dtype=torch.float64), persistent=False)
        line = torch.linspace(0, 1, knots + 1, dtype=torch.float64)
        self.register_buffer("reach", line.repeat(len(fields), 1))  # F at the knots
        nothing = torch.zeros(len(fields), len(fields), dtype=torch.float64)
        self.register_buffer("sign", nothing)  # of the column that each is relative to

    def fit(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Set what is relative to what, and ``F``, from rows ``(N, K)``."""
        pieces = self.reach.shape[1] - 1
        events = torch.ones(len(x)) if weight is None else weight.abs()
        events = events.to(x.device).double() / events.sum()
        share = self._share(x)
        for k in range(share.shape[1]):
            self.sign[k] = self._followed(share, k, events)
        place = (self._relative(share) * pieces).long().clamp(0, pieces - 1)
        for k, column in enumerate(place.T):
            mass = torch.bincount(column, events, minlength=pieces)
            mass = mass + EVEN / pieces  # no piece is empty
            self.reach[k, 1:] = mass.cumsum(0) / mass.sum()

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Physical values to points ``(B, 2 K)``, float64; ``noise`` ``(B, K)`` is uniform in [0, 1)."""
        pieces = self.reach.shape[1] - 1
        at = self._relative(self._share(x)) * pieces
        left = at.long().clamp(0, pieces - 1).T
        low, high = self.reach.gather(1, left), self.reach.gather(1, left + 1)
        angle = 2 * math.pi * (low + (at.T - left) * (high - low)).T
        radius = (-2 * torch.log1p(-noise.double().clamp(1e-6, 1 - 1e-6))).sqrt()
        return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)

    def inverse(self, y: Tensor) -> Tensor:
        """Points to physical values ``(B, K)``, float64, within one period."""
        first, second = y.double().chunk(2, 1)
        reach = torch.remainder(torch.atan2(second, first) / (2 * math.pi), 1.0).T.contiguous()
        pieces = self.reach.shape[1] - 1
        left = (torch.searchsorted(self.reach, reach, right=True) - 1).clamp(0, pieces - 1)
        low, high = self.reach.gather(1, left), self.reach.gather(1, left + 1)
        share = ((left + (reach - low) / (high - low)) / pieces).T
        for k in range(share.shape[1]):  # those that others follow come first
            moved = torch.remainder(share[:, k] + share @ self.sign[k], 1.0)
            share = torch.cat([share[:, :k], moved[:, None], share[:, k + 1 :]], 1)
        return self.low + self.period * share

    def _share(self, x: Tensor) -> Tensor:
        """Place in the period, in [0, 1)."""
        return torch.remainder(x.double() - self.low, self.period) / self.period

    def _relative(self, share: Tensor) -> Tensor:
        """Places relative to those that they follow, in [0, 1)."""
        return torch.remainder(share - share @ self.sign.T, 1.0)

    @staticmethod
    def _followed(share: Tensor, k: int, events: Tensor) -> Tensor:
        """Signs ``(K,)``: one of an earlier column, or none."""
        own = share[:, k]
        best, longest = torch.zeros(share.shape[1]).to(share), _length(own, events) + FOLLOWS
        for j in range(k):
            for sign in (1.0, -1.0):
                length = _length(own - sign * share[:, j], events)
                if length > longest:
                    best, longest = torch.zeros_like(best), length
                    best[j] = sign
        return best


def _length(share: Tensor, events: Tensor) -> float:
    """Length of the mean vector of angles, given as shares of a turn, over weighted events."""
    angle = 2 * math.pi * share
    return math.hypot(float(events @ angle.cos()), float(events @ angle.sin()))
