r"""What two samples of the truth score with equal numbers of events: the null of a test, from toys.

A toy deals true events at random to a sample of :math:`n` that plays the reference and one of :math:`m` that
plays the generator, with no event in both, and the very statistic of the test is taken. True events are those
of the reference and, where there are some, the independent ones behind the floors. With the mean
:math:`\mu` and standard deviation :math:`\sigma` of the toys and :math:`k` of :math:`T` toys at or above
the statistic :math:`t`,

.. math:: z = (t - \mu) / \sigma, \qquad p = (1 + k) / (1 + T).

:math:`z` counts standard deviations of the null, also where no toy reaches; it is a number of Gaussian sigmas
only as far as the null is Gaussian, for which there is :math:`p`.

The generated sample is compared in the same way: as many events, and true ones that gave it no conditions
(:mod:`~simulacra.metrics.engine.pairing`). Of weighted events the toys have the effective number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.metrics.distances.prdc import standardised
from simulacra.metrics.engine.pairing import apart
from simulacra.metrics.engine.score import Figure, Judged, NotRun
from simulacra.metrics.engine.weighted import Rows, Weights

FEWEST = 50
"""Events of the smaller sample below which no test is made."""
FARTHEST = 10.0
"""Standard deviations at which features of outliers are cut, so that they stay within a kernel's reach."""

Statistic = Callable[[Tensor, Tensor, Weights, torch.Generator], Tensor]
"""Statistics ``(K,)`` of true ``(n, F)`` and generated features ``(m, F)`` with their weights."""


@dataclass(frozen=True)
class Dealt:
    """Two samples at the size of a test, and all the truth that toys are dealt from.

    Args:
        reference: True events.
        generated: Generated events.
        truth: All true events, the reference's first.
    """

    reference: Rows
    generated: Rows
    truth: Rows

    @property
    def played(self) -> int:
        """True events that play the generated sample: as many as it is worth."""
        m = len(self.generated)
        if self.generated.weight is None:
            return m
        share = self.generated.worth / (self.truth.worth / len(self.truth))
        return max(2, min(m, round(share)))

    def null(self, statistic: Statistic, toys: int, generator: torch.Generator) -> Tensor:
        """Statistics ``(toys, K)`` of true events."""
        n, m, found = len(self.reference), self.played, []
        for _ in range(toys):
            order = torch.randperm(len(self.truth), generator=generator)
            first, second = self.truth[order[:n]], self.truth[order[n : n + m]]
            weights = first.weight, second.weight
            found.append(statistic(first.values, second.values, weights, generator))
        return torch.stack(found)

    def observed(self, statistic: Statistic, generator: torch.Generator) -> Tensor:
        """Statistics ``(K,)`` of the generated events."""
        weights = self.reference.weight, self.generated.weight
        return statistic(self.reference.values, self.generated.values, weights, generator)


def deal(
    reference: Judged,
    generated: Judged,
    features: Callable[[Judged], Tensor],
    ratio: int,
    most: int,
    generator: torch.Generator,
) -> Dealt:
    """Two samples in proportion, standardised by the truth without features that are constant there.

    Args:
        reference: The truth.
        generated: Generated events.
        features: What is compared ``(N, F)``.
        ratio: True events per generated one.
        most: True events at most.
        generator: Randomness of the choice.

    Raises:
        NotRun: With fewer than 50 events, or if features are not finite or all constant.
    """
    m = min(len(generated), len(reference) // (ratio + 1), most // ratio)
    if m < FEWEST:
        raise NotRun(
            f"it compares {ratio} true events with each generated one and needs {FEWEST} of these, "
            f"got {len(reference)} true and {len(generated)} generated"
        )
    known = [reference] if reference.truth is None else [reference, reference.truth]
    true = torch.cat([features(item).double() for item in known])
    made = features(generated).double()
    lost = sum(int((~torch.isfinite(rows)).any(1).sum()) for rows in (true, made))
    if lost:
        raise NotRun(f"{lost} events have features that are not finite")
    varies = (true != true[0]).any(0)
    if not bool(varies.any()):
        raise NotRun("every feature is constant in the truth")
    own = features(reference).double()[:, varies]
    scaled = [
        standardised(rows[:, varies], own, reference.weight).clamp(-FARTHEST, FARTHEST)
        for rows in (true, made)
    ]
    weight = None
    if any(item.weight is not None for item in known):
        weight = torch.cat([item.sample.weight / item.sample.weight.mean() for item in known])
    first, second = apart(reference, generated, ratio * m, m, generator)
    truth = Rows(scaled[0], weight)
    return Dealt(truth[first], Rows(scaled[1], generated.weight)[second], truth)


def against(null: Tensor, value: float) -> tuple[float, float]:
    """``z`` (NaN where toys do not differ) and ``p`` of a value against toys ``(T,)``."""
    beyond = int((null >= value).sum())
    z = (torch.tensor(value, dtype=null.dtype) - null.mean()) / null.std()
    return float(z) if bool(z.isfinite()) else math.nan, (1 + beyond) / (1 + len(null))


class ToyTest:
    """What scores share whose null is measured by toys, once for a reference and a size.

    Args:
        features: Features of a sample ``(N, F)``.
        ratio: True events per generated one.
        toys: Pairs of true samples.
        events: True events at most.
    """

    def __init__(
        self, features: Callable[[Judged], Tensor], ratio: int, toys: int, events: int
    ) -> None:
        self.features, self.ratio, self.toys, self.events = features, ratio, toys, events
        self._last: tuple[Judged, tuple[float, ...], Tensor] | None = None

    def deal(self, reference: Judged, generated: Judged, generator: torch.Generator) -> Dealt:
        """Two samples at the size of the test; see :func:`deal`."""
        return deal(reference, generated, self.features, self.ratio, self.events, generator)

    def null(self, reference: Judged, dealt: Dealt, statistic: Statistic, seed: int) -> Tensor:
        """Statistics of the toys ``(toys, K)``."""
        made = dealt.generated
        key = len(made), dealt.played, seed
        if self._last is None or self._last[0] is not reference or self._last[1] != key:
            generator = torch.Generator().manual_seed(seed + 1)
            self._last = reference, key, dealt.null(statistic, self.toys, generator)
        return self._last[2]

    def figure(self, null: Tensor, value: float, error: float) -> Figure:
        """A value with the mean of its toys ``(T,)`` as floor, and ``p``."""
        spread = float(null.std()) if len(null) > 1 else math.nan
        details = {"p": against(null, value)[1]}
        return Figure(value, error, floor=float(null.mean()), null=spread, details=details)
