r"""Precision, recall, density and coverage (arXiv:2002.09797) of generated events.

With :math:`B_k(x)` the ball around an event that ends at its :math:`k`-th nearest neighbour in its own
sample, :math:`N` true events :math:`x_i` and :math:`M` generated :math:`y_j`,

.. math:: P &= \tfrac1M \sum_j 1[y_j \in \cup_i B_k(x_i)], &
          R &= \tfrac1N \sum_i 1[x_i \in \cup_j B_k(y_j)], \\
          D &= \tfrac1{kM} \sum_j \sum_i 1[y_j \in B_k(x_i)], &
          C &= \tfrac1N \sum_i 1[\exists j: y_j \in B_k(x_i)].

Truth has density 1, and precision and recall that depend on the dimension.  A generator that collapses onto
few modes has, in many dimensions, a density far above 1 (10 to 1000) with a low recall; one that spreads too
far has a low precision and density.

The events whose shares are taken may have weights: of generated ones :math:`P` and :math:`D` are weighted
means, of true ones :math:`R`. A ball counts neighbours, which no weight can stand for; a figure with the
balls of a weighted sample (:math:`P`, :math:`D`, :math:`C` of a weighted truth, :math:`R` of weighted
generated events) is left out and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.metrics.distances.neighbours import Rows, blocks, radii
from simulacra.metrics.engine.score import (
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    score_constructor,
)
from simulacra.metrics.engine.weighted import (
    UNWEIGHTED,
    Weight,
    Weights,
    deviation,
    mean,
    part,
    sample_deviation,
    worth,
)
from simulacra.physics.calo import CalorimeterObservables

NEAREST = 5
"""The CaloChallenge's ``k``."""
ROUNDING = 1e-6
"""Relative deviation below which a feature is constant."""
NO_WEIGHTS = "takes no weights of the {} events: their balls end at the k-th nearest one"


def prdc(
    reference: Rows, generated: Rows, k: int = NEAREST, weights: Weights = UNWEIGHTED
) -> dict[str, Figure]:
    """The four figures; rows may be tensors ``(N, F)`` or features that are read block by block.

    The error of a share is binomial, with that of the sample whose balls or events decide added in squares:
    it is left out event by event, all balls as they are. In many dimensions few events decide for many, and
    the binomial error alone is too small. The density's error is that of the mean over generated events.

    Args:
        reference: Features of the truth ``(N, F)``.
        generated: Features of generated events ``(M, F)``.
        k: Which neighbour ends a ball.
        weights: Weights of the true and of the generated events; NaN and a note stand for figures that take
            none of them.

    Raises:
        NotRun: If a sample has no ``k``-th neighbour, or both have weights.
    """
    true, made = weights
    if true is not None and made is not None:
        raise NotRun("precision and recall take no weights of both samples: they count neighbours")
    n, m = len(reference), len(generated)
    if min(n, m) <= k:
        raise NotRun(
            f"precision and recall need more than {k} events of each kind, got {n} and {m}"
        )
    real, fake = radii(reference, k), radii(generated, k)
    held, found, covered = Tally(m, n), Tally(n, m), Tally(n, m)
    for block in blocks(reference, generated):
        rows, columns = block.rows, block.columns
        in_real = (block.distance < real[rows, None]).double()
        in_fake = (block.distance < fake[None, columns]).double()
        held.add(columns, rows, in_real)
        found.add(rows, columns, in_fake.T)
        covered.add(rows, columns, in_real.T)
    density = held.number / k
    spread = float(sample_deviation(density, made)) / math.sqrt(worth(m, made))
    figures = {
        "precision": held.share(made),
        "recall": found.share(true),
        "density": Figure(float(mean(density, made)), spread, power=None),
        "coverage": covered.share(None),
    }
    if true is not None:
        figures |= dict.fromkeys(("precision", "density", "coverage"), _left_out("true"))
    return figures if made is None else {**figures, "recall": _left_out("generated")}


class Tally:
    """How many events of another sample decide for each event, and which one where there is but one.

    Args:
        events: Number of events.
        others: Number of events of the other sample.
    """

    def __init__(self, events: int, others: int) -> None:
        self.others = others
        self.counts = torch.zeros(2, events, dtype=torch.float64)

    @property
    def number(self) -> Tensor:
        """How many decide for each event ``(events,)``, float64."""
        return self.counts[0]

    def add(self, events: slice, others: slice, decides: Tensor) -> None:
        """Count some of the others ``(others, events)``, 1 for those that decide, float64."""
        place = torch.arange(others.start, others.stop, dtype=torch.float64)
        self.counts[:, events] += torch.stack([torch.ones_like(place), place]) @ decides

    def share(self, weight: Weight) -> Figure:
        """Share of the events for which any decides, with its error."""
        number, sole = self.counts
        n = len(number)
        value = float(mean((number > 0).double(), weight))
        each = (
            torch.full_like(number, 1 / n) if weight is None else weight.to(number) / weight.sum()
        )
        alone = number == 1  # the figure falls by these without the one
        moved = torch.bincount(sole[alone].long(), each[alone], minlength=self.others)
        other = float(moved.square().sum() - moved.sum().square() / self.others)
        error = math.sqrt(value * (1 - value) / worth(n, weight) + max(other, 0.0))
        return Figure(value, error, power=None)


class PRDC(TwoSampleMetric):
    """:func:`prdc` of all features that were seen."""

    def __init__(self, k: int = NEAREST) -> None:
        super().__init__()
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        """The four values."""
        return {
            name: torch.tensor(figure.value) for name, figure in prdc(*self.rows(), self.k).items()
        }


@score_constructor
def shower_prdc(
    reference: Judged, generated: Judged, seed: int, *, events: Count = 10_000, k: int = NEAREST
) -> dict[str, Figure]:
    """``prdc/...`` as the CaloChallenge: of log10 of the cells [MeV] after the cut, empty ones 0.1 MeV.

    The incident energy is no feature. Cells are read and transformed in blocks as distances need them.

    Args:
        reference: True showers.
        generated: Generated showers.
        seed: Not used: nothing is drawn.
        events: Showers of each kind at most, the first ones.
        k: Which neighbour ends a ball.
    """
    real, fake = (LogCells.of(judged, events) for judged in (reference, generated))
    return _named(prdc(real, fake, k, (real.showers.weight, fake.showers.weight)))


@score_constructor
def feature_prdc(
    reference: Judged, generated: Judged, seed: int, *, events: int = 10_000, k: int = NEAREST
) -> dict[str, Figure]:
    """``prdc/...`` of the high-level classifier inputs, standardised by the reference.

    Args:
        reference: True events.
        generated: Generated events.
        seed: Not used: nothing is drawn.
        events: Events of each kind at most, the first ones.
        k: Which neighbour ends a ball.
    """
    real, fake = (judged.sample.features[:events] for judged in (reference, generated))
    true, made = (part(judged.weight, slice(events)) for judged in (reference, generated))
    scaled = [standardised(rows, real, true) for rows in (real, fake)]
    return _named(prdc(scaled[0], scaled[1], k, (true, made)))


@dataclass(frozen=True)
class LogCells:
    """Logarithms of the cells of showers, computed as they are read.

    Args:
        showers: The showers.
        observables: What knows the cut.
    """

    showers: Judged
    observables: CalorimeterObservables

    @classmethod
    def of(cls, showers: Judged, events: int) -> LogCells:
        """The first ``events`` showers.

        Raises:
            NotRun: If the events are no showers on a calorimeter.
        """
        if not isinstance(showers.observables, CalorimeterObservables):
            raise NotRun("precision and recall of cells need showers on the cells of a calorimeter")
        return cls(showers.between(0, min(events, len(showers))), showers.observables)

    def __len__(self) -> int:
        return len(self.showers)

    def __getitem__(self, index: slice, /) -> Tensor:
        chosen = range(*index.indices(len(self)))
        return self.observables.log_cells(self.showers.events[chosen])


def standardised(features: Tensor, by: Tensor, weight: Weight = None) -> Tensor:
    """Features ``(N, F)`` minus the mean and over the deviation of others (with weights), float64; one that
    is constant there up to float32's rounding is only shifted.
    """
    values = by.double()
    scale = deviation(values, weight)
    varies = scale > ROUNDING * values.abs().amax(0)
    return (features.double() - mean(values, weight)) / torch.where(varies, scale, 1.0)


def _left_out(kind: str) -> Figure:
    return Figure(math.nan, floor=math.nan, note=NO_WEIGHTS.format(kind))


def _named(figures: dict[str, Figure]) -> dict[str, Figure]:
    return {f"prdc/{name}": figure for name, figure in figures.items()}
