"""The mean velocity of Gaussian data in closed form, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.dynamics.paths import OptimalTransportPath, along

MEAN, WIDTH = 0.7, 0.5

STRAIGHT = OptimalTransportPath(0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(t: Tensor) -> Tensor:
    """Standard deviation of the points at a time."""
    return ((t * WIDTH).square() + (1 - t).square()).sqrt()


def carried(x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The flow of N(MEAN, WIDTH^2) from one time to another."""
    return s * MEAN + spread(s) / spread(t) * (x - t * MEAN)


def velocity(x: Tensor, t: Tensor) -> Tensor:
    """Its velocity."""
    return MEAN + (t * WIDTH**2 - (1 - t)) / spread(t).square() * (x - t * MEAN)


def exact(x: Tensor, t: Tensor, length: Tensor) -> Tensor:
    """Its mean velocity over times and lengths ``(B,)``, the velocity where the length is zero."""
    t, length = along(t, x), along(length, x)
    mean = (carried(x, t, t + length) - x) / torch.where(length == 0, 1.0, length)
    return torch.where(length == 0, velocity(x, t), mean)


def intervals(n: int = 50) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the flow, and the ends of intervals that are not empty."""
    x = torch.randn(n, 1, generator=generator(), dtype=torch.float64)
    times = torch.rand(n, 2, generator=generator(1), dtype=torch.float64)
    t, s = times.min(1).values, times.max(1).values + 0.05
    return along(t, x) * MEAN + spread(along(t, x)) * x, 0.95 * t, 0.95 * s
