r"""Histograms of two mixtures of signal and background, taken apart.

With shares of signal :math:`f_1 > f_2`, the normalised histograms of the mixtures are
:math:`h_k = f_k s + (1 - f_k) b`, so that

.. math:: s = \frac{(1 - f_2) h_1 - (1 - f_1) h_2}{f_1 - f_2}, \qquad
          b = \frac{f_1 h_2 - f_2 h_1}{f_1 - f_2}.

Where the fractions are not known, the extreme ratios of the mixtures,

.. math:: \kappa_{12} = \min_x \frac{h_1}{h_2}, \qquad \kappa_{21} = \min_x \frac{h_2}{h_1},

define classes by themselves, the *topics*: what is left of a mixture after as much of the other one is taken
away as there can be. The shares of the first topic are

.. math:: f_1 = \frac{1 - \kappa_{12}}{1 - \kappa_{12} \kappa_{21}}, \qquad f_2 = \kappa_{21} f_1,

and those of signal if there are places where there is no background, and others where there is no signal. How
far that holds are the same extreme ratios of signal and background, their reducibility.

References: Metodiev and Thaler, arXiv:1802.00008 (topics); Komiske, Metodiev and Thaler, arXiv:1809.01140.
    Of the bins that hold enough events, that with the smallest sum of ratio and error is the extreme one, a
    choice of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.binned_unfolding import content


@dataclass(frozen=True)
class Shares:
    """A normalised histogram.

    Args:
        value: Share of the weight in each bin ``(K,)``.
        variance: Its variance ``(K,)``, the sum of all shares being 1.
        events: Effective number of events in each bin ``(K,)``.
    """

    value: Tensor
    variance: Tensor
    events: Tensor

    @classmethod
    def of(cls, place: Tensor, bins: int, weight: Tensor) -> Shares:
        """From the bins of events ``(N,)`` and their weights ``(N,)``."""
        w = weight.double()
        first, second = (content(place, bins, w**power) for power in (1, 2))
        total, square = first.sum(), second.sum()
        value = first / total
        variance = ((1 - 2 * value) * second + value.square() * square) / total.square()
        events = torch.where(second > 0, first.square() / second, 0.0)
        return cls(value, variance.clamp_min(0), events)


def unmixed(
    first: Shares, second: Shares, fractions: tuple[float, float], uncertain: float = 0.0
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Shares ``(K,)`` of signal and of background in the bins, each with its errors ``(K,)``.

    Args:
        first: Of the mixture of fraction ``fractions[0]``.
        second: Of the other one.
        fractions: Shares of signal.
        uncertain: Standard error of each fraction, independent.

    Raises:
        UserError: If both fractions are equal.
    """
    f, g = fractions
    apart = f - g
    if apart == 0:
        raise UserError(f"mixtures of equal fractions, {f:g}, cannot be taken apart")
    found = []
    for one, two in (((1 - g) / apart, -(1 - f) / apart), (-g / apart, f / apart)):
        value = one * first.value + two * second.value
        own = one**2 * first.variance + two**2 * second.variance
        # d value / d f_1 = (h_2 - value) / (f_1 - f_2), d value / d f_2 = (value - h_1) / (f_1 - f_2)
        moved = (second.value - value).square() + (value - first.value).square()
        found.append((value, (own + moved * (uncertain / apart) ** 2).sqrt()))
    return found[0], found[1]


def misfit(value: Tensor, error: Tensor, truth: Shares) -> tuple[float, float]:
    """Mean squared difference from the truth in units of the error, 1 where errors are right, and the spread
    that it has then; bins without an error do not count.
    """
    variance = error.square() + truth.variance
    held = variance > 0
    bins = int(held.sum())
    if not bins:
        return math.nan, math.nan
    pull = (value - truth.value)[held].square() / variance[held]
    return float(pull.mean()), math.sqrt(2 / bins)


def extreme(above: Shares, below: Shares, least: float) -> tuple[float, float]:
    """Smallest ratio of two histograms, and its error.

    Args:
        above: Numerator.
        below: Denominator.
        least: Effective events that a bin of either needs.

    Raises:
        UserError: If no bin holds as many.
    """
    held = (above.events >= least) & (below.events >= least)
    if not bool(held.any()):
        raise UserError(f"no bin holds {least:g} events of both samples: take fewer bins")
    one, two = above.value[held], below.value[held]
    ratio = one / two
    relative = above.variance[held] / one.square() + below.variance[held] / two.square()
    error = ratio * relative.sqrt()
    place = int((ratio + error).argmin())
    return float(ratio[place]), float(error[place])


def topics(
    first: Shares, second: Shares, least: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Shares of the first topic in both mixtures, each with its error.

    Args:
        first: The mixture with more signal.
        second: The other one.
        least: Effective events that a bin needs in order to be the extreme one.

    Raises:
        UserError: If no bin holds as many, or the mixtures do not differ.
    """
    (a, da), (b, db) = extreme(first, second, least), extreme(second, first, least)
    rest = 1 - a * b
    if rest <= 0:
        raise UserError("the mixtures do not differ in this observable: they have no topics")
    f = (1 - a) / rest
    by_a, by_b = (b - 1) / rest**2, a * (1 - a) / rest**2
    own = math.hypot(by_a * da, by_b * db)
    other = math.hypot(b * by_a * da, (f + b * by_b) * db)
    return (f, own), (b * f, other)
