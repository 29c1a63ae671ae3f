r"""Distributions of one level, a whole number from 0 to ``K - 1``, by numbers that a network makes.

:class:`Softmax` has a logit for each level. :class:`Logistics` has few numbers whatever ``K``: with the share
``p`` of pixels that hold energy and a mixture of logistic distributions on a line from -1 to 1 on which the
levels above 0 have places :math:`x_q` of width :math:`2 d = 2 / (K - 1)`,

.. math:: P(0) = 1 - p, \qquad P(q) = p \sum_k \pi_k
    \left[\sigma\!\left(\frac{x_q + d - \mu_k}{s_k}\right)
    - \sigma\!\left(\frac{x_q - d - \mu_k}{s_k}\right)\right],

where the first and the last level take what lies beyond. Without an atom at zero a mixture would spend some
of its parts on it.

References: van den Oord et al., arXiv:1606.05328; Salimans et al., arXiv:1701.05517, eq. 2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count

SHARPEST = -7.0
"""Least logarithm of a width."""


class LevelHead(ABC):
    """Distribution of levels from ``outputs`` numbers each, the last axis.

    Args:
        levels: ``K``.
    """

    outputs: int

    def __init__(self, levels: int) -> None:
        self.levels = levels

    @abstractmethod
    def log_prob(self, numbers: Tensor, level: Tensor) -> Tensor:
        """Log probability of ``level`` ``(...)`` from ``numbers`` ``(..., outputs)``."""

    @abstractmethod
    def probabilities(self, numbers: Tensor) -> Tensor:
        """Those of all levels ``(..., K)``, which sum to 1."""

    @abstractmethod
    def start(self, shares: Tensor) -> Tensor:
        """Numbers ``(V, outputs)`` that come near to shares of the levels ``(V, K)``, all above 0."""


@constructor
class Softmax(LevelHead):
    """A logit for each level."""

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.outputs = levels

    def log_prob(self, numbers: Tensor, level: Tensor) -> Tensor:
        """See :class:`LevelHead`."""
        logs = functional.log_softmax(numbers.float(), dim=-1)
        return logs.gather(-1, level.long()[..., None])[..., 0]

    def probabilities(self, numbers: Tensor) -> Tensor:
        """See :class:`LevelHead`."""
        return functional.softmax(numbers.float(), dim=-1)

    def start(self, shares: Tensor) -> Tensor:
        """See :class:`LevelHead`; they are met."""
        return shares.log()


@constructor
class Logistics(LevelHead):
    """A logit of energy at all, then weights, means and logarithms of widths of the mixture.

    Args:
        levels: ``K``, at least 3.
        mixtures: Parts of the mixture.
    """

    def __init__(self, levels: int, mixtures: Count) -> None:
        super().__init__(levels)
        if levels < 3:
            raise UserError(f"a mixture needs two levels beside that of none, not {levels - 1}")
        self.mixtures, self.half = mixtures, 1 / (levels - 1)
        self.outputs = 1 + 3 * mixtures

    def log_prob(self, numbers: Tensor, level: Tensor) -> Tensor:
        """See :class:`LevelHead`; in single precision at least, as differences of small numbers are taken."""
        hit, weights, means, widths = self._parts(numbers)
        level = level[..., None]
        place = (2 * level - self.levels) * self.half
        slope = torch.exp(-widths)
        above, below = (slope * (place + side - means) for side in (self.half, -self.half))
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)) keeps its digits everywhere
        step = torch.log(-torch.expm1(-2 * self.half * slope))
        up, down = functional.logsigmoid(above), functional.logsigmoid(-below)
        mass = torch.where(level <= 1, up, up + down + step)
        mass = torch.where(level >= self.levels - 1, down, mass)
        mixed = torch.logsumexp(functional.log_softmax(weights, dim=-1) + mass, dim=-1)
        return torch.where(
            level[..., 0] > 0, functional.logsigmoid(hit) + mixed, functional.logsigmoid(-hit)
        )

    def probabilities(self, numbers: Tensor) -> Tensor:
        """See :class:`LevelHead`."""
        levels = torch.arange(self.levels, device=numbers.device, dtype=torch.float32)
        return self.log_prob(numbers[..., None, :], levels.expand(*numbers.shape[:-1], -1)).exp()

    def start(self, shares: Tensor) -> Tensor:
        """See :class:`LevelHead`; means are spread over the line, so that no part is dead at first."""
        count = self.mixtures
        hit = torch.logit(1 - shares[:, :1], eps=1e-6)
        means = (2 * torch.arange(count, device=shares.device) + 1) / count - 1
        level = torch.arange(1, self.levels, device=shares.device)
        place = (2 * level - self.levels) * self.half
        nearest = (place[:, None] - means).abs().argmin(1)
        found = shares.new_zeros(len(shares), count).index_add_(1, nearest, shares[:, 1:])
        weights = (found + 1e-4).log()
        width = torch.full_like(weights, -math.log(3.0 * count))
        return torch.cat([hit, weights, means.expand_as(weights), width], dim=1)

    def _parts(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        numbers = numbers.float()
        hit = numbers[..., 0]
        weights, means, widths = numbers[..., 1:].split(self.mixtures, dim=-1)
        return hit, weights, means, widths.clamp(min=SHARPEST)
