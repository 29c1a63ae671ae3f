"""What a figure of two samples is made of: both kinds of events at hand, and a value that knows its error
and how it falls with the number of events.

A *score* is a function of a reference and a generated sample. The evaluation calls it once for the generated
events and once for independent truth in their place, which gives every figure its floor in one way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor_of
from simulacra.metrics.engine.curve import Curve
from simulacra.metrics.engine.events import Events, Kept, Window, chunks
from simulacra.metrics.engine.sample import Sample, reduce
from simulacra.metrics.engine.weighted import Weight, effective, unequal
from simulacra.physics.base import ObservableSet

if TYPE_CHECKING:
    from simulacra.metrics.engine.result import Histogram

__all__ = [
    "Events",
    "Figure",
    "Judged",
    "NotRun",
    "Score",
    "TwoSampleMetric",
    "Window",
    "chunks",
    "judged",
    "mean_and_spread",
    "refuse_negative",
    "score_constructor",
]


SAME_SIZE = 0.02
"""Relative difference of effective numbers of events that is none."""


class NotRun(UserError):  # noqa: N818  # it is no error: the evaluation goes on
    """A figure that these samples do not allow; the evaluation notes the sentence and goes on."""


@dataclass(frozen=True)
class Judged:
    """One sample as scores see it.

    Args:
        events: The events themselves.
        sample: What they were reduced to: observables, high-level inputs, profiles.
        observables: What reduced them.
        training: The events that the generator was trained on, with the reference, where they are known.
        truth: Independent true events, with the reference, where there are some.
    """

    events: Events
    sample: Sample
    observables: ObservableSet
    training: Judged | None = None
    truth: Judged | None = None

    def __len__(self) -> int:
        return len(self.events)

    @property
    def weight(self) -> Weight:
        """Event weights ``(N,)``, float64; None where all events weigh the same."""
        return unequal(self.sample.weight)

    @property
    def effective(self) -> float:
        """Effective number of events."""
        return effective(self.sample.weight)

    def between(self, start: int, stop: int) -> Judged:
        """The events ``[start, stop)``."""
        return replace(
            self,
            events=Window(self.events, start, stop),
            sample=self.sample.between(start, stop),
        )

    def take(self, index: Tensor) -> Judged:
        """The events ``index`` ``(k,)``, rising."""
        return replace(self, events=Kept(self.events, index), sample=self.sample.take(index))


def judged(
    events: Events, observables: ObservableSet, watch: Callable[[Batch], None] | None = None
) -> Judged:
    """Reduce events, chunk by chunk, which ``watch`` sees first; those of weight 0 are left out.

    Raises:
        UserError: If there are none, or their weights are none.
    """
    sample = reduce(events, observables, watch)
    kept = events if sample.position is None else Kept(events, sample.position)
    return Judged(kept, sample, observables)


def refuse_negative(*samples: Judged) -> None:
    """Scores compare densities, and a sample with negative weights may have none.

    Raises:
        NotRun: If an event has a negative weight.
    """
    negative = sum(int((item.sample.weight < 0).sum()) for item in samples)
    if negative:
        raise NotRun(f"it takes no negative weights, which {negative} events have")


@dataclass(frozen=True)
class Figure:
    """A value with its statistical error.

    Args:
        value: The figure; one that is not finite is left out of the results.
        error: Its error, or None where none is known.
        power: How a floor falls with the number of events, as ``(1/N + 1/M) ** power``; 0: it does not; None:
            in a way that is not known, so that a floor needs samples of the right sizes.
        draws: Events drawn from each sample for this figure, which add their own fluctuation; None: all
            events are used.
        most: Events of each sample that are used at most, the first ones.
        stored: Whether the figure compares with stored statistics of the truth, so that the reference's
            events are none of its fluctuation.
        floor: What a perfect generator scores, where that is known; None: it is measured.
        null: Standard deviation of what a perfect generator scores, where that is known; None: the floor's
            truth against truth tells it.
        note: A remark, such as ``too few events``.
        least: Events that the smaller sample must hold for a floor to be scaled to other sizes.
        details: Further numbers by name, entries ``<key>/<name>`` of the results.
        histograms: Where the figure says that both samples differ, by observable, to be drawn.
        curves: What the report draws of it, by name.
    """

    value: float
    error: float | None = None
    power: float | None = 0.5
    draws: int | None = None
    most: float = math.inf
    stored: bool = False
    floor: float | None = None
    null: float | None = None
    note: str | None = None
    least: float = 0.0
    details: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def used(self, sizes: tuple[float, float]) -> list[float]:
        """Effective numbers of events that enter, of samples of these sizes."""
        return [min(n, self.most) for n in (sizes[1:] if self.stored else sizes)]

    def factor(self, found: tuple[float, float], wanted: tuple[float, float]) -> float:
        """What a floor from samples of effective sizes ``found`` is multiplied by at the sizes ``wanted``;
        NaN where they differ and no floor can be carried from one to the other.
        """
        first, second = self.used(found), self.used(wanted)
        if all(abs(n - m) <= SAME_SIZE * m for n, m in zip(first, second, strict=True)):
            return 1.0
        if self.power is None or min(first) < self.least:
            return math.nan
        extra = 0.0 if self.draws is None else 2 / self.draws
        have, want = (sum(1 / n for n in sizes) + extra for sizes in (first, second))
        return math.pow(want / have, self.power)


Score = Callable[[Judged, Judged, int], Mapping[str, Figure]]
"""``score(reference, generated, seed)``: figures by key, e.g. ``{"fpd": Figure(...)}``."""

score_constructor = constructor_of(Score)
"""Decorator of scores that a saved configuration may name."""


class TwoSampleMetric(Metric):
    """Base of figures that need every row of both samples; states are lists that ranks gather.

    A subclass computes its figure in :meth:`compute` from :meth:`rows`.
    """

    is_differentiable = False
    higher_is_better: bool | None = False
    full_state_update = False
    reference: list[Tensor]
    generated: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("reference", default=[], dist_reduce_fx="cat")
        self.add_state("generated", default=[], dist_reduce_fx="cat")

    def update(self, reference: Tensor, generated: Tensor) -> None:
        """Add rows ``(n, ...)`` of the reference and ``(m, ...)`` of generated events, maybe none."""
        self.reference.append(reference.detach())
        self.generated.append(generated.detach())

    def rows(self) -> tuple[Tensor, Tensor]:
        """All rows of the reference and of the generated events, on the CPU."""
        return dim_zero_cat(self.reference).cpu(), dim_zero_cat(self.generated).cpu()


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and population standard deviation."""
    found = torch.tensor(values, dtype=torch.float64)
    return float(found.mean()), float(found.std(unbiased=False))
