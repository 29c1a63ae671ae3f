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
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.metrics.neighbours import Rows, blocks, radii
from simulacra.metrics.score import Figure, Judged, NotRun, TwoSampleMetric
from simulacra.physics.calo import CalorimeterObservables

NEAREST = 5
"""The CaloChallenge's ``k``."""
ROUNDING = 1e-6
"""Relative deviation below which a feature is constant."""


def prdc(reference: Rows, generated: Rows, k: int = NEAREST) -> dict[str, Figure]:
    """The four figures; rows may be tensors ``(N, F)`` or features that are read block by block.

    The errors are binomial; the density's is that of the mean over generated events.

    Args:
        reference: Features of the truth ``(N, F)``.
        generated: Features of generated events ``(M, F)``.
        k: Which neighbour ends a ball.

    Raises:
        NotRun: If a sample has no ``k``-th neighbour.
    """
    n, m = len(reference), len(generated)
    if min(n, m) <= k:
        raise NotRun(
            f"precision and recall need more than {k} events of each kind, got {n} and {m}"
        )
    real, fake = radii(reference, k), radii(generated, k)
    holds, found = torch.zeros(m, dtype=torch.int64), torch.zeros(n, dtype=torch.bool)
    nearest = torch.full((n,), torch.inf, dtype=torch.float64)
    for block in blocks(reference, generated):
        rows, columns, distance = block.rows, block.columns, block.distance
        holds[columns] += (distance < real[rows, None]).sum(0)
        found[rows] |= (distance < fake[None, columns]).any(1)
        nearest[rows] = torch.minimum(nearest[rows], distance.amin(1))
    density = holds.double() / k
    return {
        "precision": _share(holds > 0),
        "recall": _share(found),
        "density": Figure(float(density.mean()), float(density.std()) / math.sqrt(m), power=0.0),
        "coverage": _share(nearest < real),
    }


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


def shower_prdc(
    reference: Judged, generated: Judged, seed: int, *, events: int = 10_000, k: int = NEAREST
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
    return _named(prdc(real, fake, k))


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
    return _named(prdc(standardised(real, real), standardised(fake, real), k))


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


def standardised(features: Tensor, by: Tensor) -> Tensor:
    """Features ``(N, F)`` minus the mean and over the deviation of others, float64; one that is constant
    there up to float32's rounding is only shifted.
    """
    values = by.double()
    deviation = values.std(0, unbiased=False)
    varies = deviation > ROUNDING * values.abs().amax(0)
    return (features.double() - values.mean(0)) / torch.where(varies, deviation, 1.0)


def _share(chosen: Tensor) -> Figure:
    share = float(chosen.double().mean())
    return Figure(share, math.sqrt(share * (1 - share) / len(chosen)), power=0.0)


def _named(figures: dict[str, Figure]) -> dict[str, Figure]:
    return {f"prdc/{name}": figure for name, figure in figures.items()}
