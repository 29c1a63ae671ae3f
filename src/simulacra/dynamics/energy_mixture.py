r"""Mixtures of normal distributions on a part of the line.

.. math:: p(e) = \frac{\sum_k \pi_k\, \mathcal N(e; \mu_k, \sigma_k^2)}{\sum_k \pi_k\, m_k}, \qquad
    m_k = \Phi\!\left(\frac{b - \mu_k}{\sigma_k}\right) - \Phi\!\left(\frac{a - \mu_k}{\sigma_k}\right)

for ``e`` from ``a`` to ``b``, 0 outside. An energy that may not exceed the one before it, or fall below a
threshold, so has a density that integrates to one over what is allowed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import draws

NARROW = 0.1
"""Width of an interval, times the larger of one and how far it is off, in standard deviations, below which
the density and its curvature at the middle stand for all of it: a difference would lose its digits."""
LEAST = 1e-6
"""Width of the smallest interval, so that equal energies may follow each other."""
SHARPEST = -5.0
"""Least logarithm of a width."""

Parts = tuple[Tensor, Tensor, Tensor]
"""Logarithms of weights, means and logarithms of widths, each ``(..., K)``."""


def parts(numbers: Tensor, centre: Tensor, spread: Tensor) -> Parts:
    """The mixture from what a network makes ``(..., 3 K)``, of order 1 on a scale of ``centre`` and
    ``spread``.
    """
    weights, means, widths = numbers.float().chunk(3, -1)
    logs = functional.log_softmax(weights, -1)
    return logs, centre + spread * means, spread.log() + widths.clamp(min=SHARPEST)


def log_prob(mixture: Parts, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Log density ``(...)`` of values ``(...)`` between ``low`` and ``high``; minus infinity outside."""
    logs, means, widths = mixture
    high = torch.maximum(high, low + LEAST)
    z = (value[..., None] - means) / widths.exp()
    normal = -0.5 * z.square() - widths - 0.5 * math.log(2 * math.pi)
    inside = torch.logsumexp(logs + normal, -1)
    total = torch.logsumexp(logs + log_mass(mixture, low, high), -1)
    return torch.where((value < low) | (value > high), -torch.inf, inside - total)


def log_mass(mixture: Parts, low: Tensor, high: Tensor) -> Tensor:
    """Logarithms of the probabilities of each part between bounds ``(...)``: ``(..., K)``."""
    a, b = _tail(mixture, low, high)
    width, middle = (high - low)[..., None] / mixture[2].exp(), (a + b) / 2
    narrow = width * middle.abs().clamp(min=1) < NARROW
    middle, near = torch.where(narrow, middle, 0.0), torch.where(narrow, width, 1.0)
    curved = (middle.square() - 1) * near.square() / 24
    flat = -0.5 * middle.square() - 0.5 * math.log(2 * math.pi) + near.log() + curved
    lower = torch.special.log_ndtr(torch.where(narrow, -1.0, a))
    upper = torch.special.log_ndtr(torch.where(narrow, 1.0, b))
    wide = upper + torch.log(-torch.expm1(lower - upper))
    return torch.where(narrow, flat, wide)


def sample(
    mixture: Parts, low: Tensor, high: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Values ``(B,)`` between bounds ``(B,)``, of parts ``(B, K)``; NaN where a mixture is."""
    logs, means, widths = mixture
    high = torch.maximum(high, low + LEAST)
    chance = torch.softmax(logs + log_mass(mixture, low, high), -1)
    chosen = draws.categorical(chance.shape[0], chance, generator)[:, None]
    one = (logs.gather(1, chosen), means.gather(1, chosen), widths.gather(1, chosen))
    a, b = (side[:, 0].double() for side in _tail(one, low, high))
    flipped = ((low + high)[:, None] / 2 > one[1])[:, 0]
    below, above = torch.special.ndtr(a), torch.special.ndtr(b)
    part = draws.uniform(low.shape, below, generator)
    z = torch.special.ndtri(below + part * (above - below))
    # beyond 38 standard deviations there is no digit left: the end that is nearer to the mean
    z = torch.where(above > 0, z, b).clamp(a, b)
    value = one[1][:, 0] + one[2][:, 0].exp() * torch.where(flipped, -z, z).to(low)
    return torch.minimum(torch.maximum(value, low), high)


def _tail(mixture: Parts, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds in standard deviations ``(..., K)``, turned round where the interval lies above the mean, so
    that probabilities are differences of small numbers.
    """
    _, means, widths = mixture
    a, b = ((side[..., None] - means) / widths.exp() for side in (low, high))
    above = (low + high)[..., None] / 2 > means
    return torch.where(above, -b, a), torch.where(above, -a, b)
