r"""Quantile map: every column becomes standard normal.

With the empirical distribution function :math:`F` of the fitted values,
:math:`y = \Phi^{-1}(F(x))`, as a strictly rising piecewise-linear function on knots that are evenly
spaced in :math:`y`, so that tails are resolved as finely as the bulk. Columns whose fitted values
are all positive are mapped in logarithm, hence stay positive in the inverse. Beyond the fitted
range the map goes on as a straight line with the slope of a plain standardisation.
Knots are float64: those of tied values lie closer together than float32 resolves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.transforms.maps.base import Map


class QuantileMap(Map):
    """Columns ``(B, K)`` to columns that are standard normal over the fitted events.

    Args:
        columns: ``K``.
        knots: Number of knots per column.
    """

    log: Tensor
    level: Tensor
    knots: Tensor
    width: Tensor

    def __init__(self, columns: int, knots: int = 257) -> None:
        super().__init__()
        line = torch.linspace(-4, 4, knots, dtype=torch.float64)
        self.register_buffer("log", torch.zeros(columns, dtype=torch.bool))
        self.register_buffer("level", line)
        self.register_buffer("knots", line.repeat(columns, 1))
        self.register_buffer("width", torch.ones(columns, dtype=torch.float64))

    def fit(self, x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> None:
        """Place the knots at quantiles of ``x``, ``(B, K)``; of weighted rows with their weights ``(B,)``."""
        n = len(x)
        self.log.copy_((x > 0).all(0))
        value = self._scale(x)
        top = torch.special.ndtri(torch.tensor(1 - 0.5 / n, dtype=torch.float64)).clamp_min(0.1)
        level = torch.linspace(-1, 1, self.level.numel(), dtype=torch.float64) * top
        rank = (torch.special.ndtr(level) * n - 0.5) / max(n - 1, 1)
        rank = rank.clamp(0, 1).to(value.device)
        if weight is None:
            knots = torch.quantile(value, rank, dim=0).T  # (K, Q)
        else:
            knots = _weighted_quantile(value.T, rank, weight.to(value))
        width = value.std(0) if n > 1 else torch.zeros(x.shape[1], dtype=torch.float64)
        width = torch.where(width > 0, width, 1.0)
        # Ties become steep but rising pieces.
        ramp = (
            1e-5
            * width[:, None]
            * torch.linspace(0, 1, self.level.numel(), dtype=torch.float64, device=x.device)
        )
        self.level.copy_(level)
        self.knots.copy_(knots + ramp)
        self.width.copy_(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Physical values to normal ones."""
        value = self._scale(x)
        rows = value.T.contiguous()
        right = torch.searchsorted(self.knots, rows).clamp(1, self.knots.shape[1] - 1)
        low, high = self.knots.gather(1, right - 1), self.knots.gather(1, right)
        place = right - 1 + ((rows - low) / (high - low)).clamp(0, 1)
        inside = self.level[0] + self._step() * place.T
        outside = value - value.clamp(self.knots[:, 0], self.knots[:, -1])
        return (inside + outside / self.width).to(x.dtype)

    def log_slope(self, x: Tensor) -> Tensor:
        """Logarithm of the derivative, float64 ``(B, K)``; on a knot that of the piece below."""
        value = self._scale(x)
        rows = value.T.contiguous()
        right = torch.searchsorted(self.knots, rows).clamp(1, self.knots.shape[1] - 1)
        low, high = self.knots.gather(1, right - 1), self.knots.gather(1, right)
        within = (value >= self.knots[:, 0]) & (value <= self.knots[:, -1])
        slope = torch.where(within, self._step() / (high - low).T, 1 / self.width)
        return slope.log() - torch.where(self.log, value, 0.0)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normal values to physical ones."""
        level, last = y.double(), self.knots.shape[1] - 1
        place = ((level - self.level[0]) / self._step()).clamp(0, last).T
        left = place.long().clamp(0, last - 1)  # of a NaN, any
        low, high = self.knots.gather(1, left), self.knots.gather(1, left + 1)
        inside = (low + (place - left) * (high - low)).T
        value = inside + (level - level.clamp(self.level[0], self.level[-1])) * self.width
        return torch.where(self.log, value.exp(), value).to(y.dtype)

    def _scale(self, x: Tensor) -> Tensor:
        tiny = torch.finfo(x.dtype).tiny
        value = x.double()
        return torch.where(self.log, value.clamp_min(tiny).log(), value)

    def _step(self) -> Tensor:
        """Distance of neighbouring levels."""
        return (self.level[-1] - self.level[0]) / (self.level.numel() - 1)


def _weighted_quantile(x: Tensor, rank: Tensor, weight: Tensor) -> Tensor:
    """Smallest value of each row ``(K, B)`` up to which the share of the weights ``(B,)`` reaches each rank
    ``(Q,)``: ``(K, Q)``.
    """
    order = x.argsort(dim=1)
    share = weight[order].cumsum(1)
    share = share / share[:, -1:]
    place = torch.searchsorted(share.contiguous(), rank.expand(len(x), -1).contiguous())
    return x.gather(1, order.gather(1, place.clamp_max(x.shape[1] - 1)))
