r"""Scores of pixel sensors, from the occupancies and charges that a sample was reduced to.

``sensor_correlation`` is the mean absolute difference of the rank correlations of the sensors' occupancies,
over all pairs of sensors (arXiv:2303.08046, correlation of intra-event sensors). Independent images have
correlation 0, so a generator that ignores the event scores the mean correlation of the truth.

``sensor_occupancy`` and ``sensor_charge`` are the means over sensors of the relative deviation of the mean
occupancy, and of the mean charge of fired pixels, from the reference's:

.. math:: \frac1S \sum_s \left|\frac{\bar o_s^{gen}}{\bar o_s^{ref}} - 1\right|.

``reference_stats/occupancy`` and ``reference_stats/charge`` compare with published numbers instead of the
reference: the mean over sensors of the relative deviation of the mean occupancy, and of the mean charge of
fired pixels, from the values over 10,000 Geant4 events. Their floors are therefore the deviations of the
truth at hand, and do not fall with the number of events.

Note:
    The published mean charge of a sensor is the mean over events of the event's charge per fired pixel; ours
    is the charge of all events per fired pixel of all events, which gives every pixel the same weight. Where
    occupancies vary much from event to event they differ by up to 2.5 %.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from simulacra.core import IncompatibleError
from simulacra.formats.pxd_sensors import COLS, ROWS
from simulacra.metrics.engine.columns import poisson_weights, spread, table
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import (
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    score_constructor,
)
from simulacra.metrics.engine.weighted import part
from simulacra.physics.pxd import correlation_difference
from simulacra.physics.pxd_reference import pxd_reference

REPLICAS = 20
"""Bootstrap replicas behind an error."""
SENSOR = "occupancy_sensor_"
"""What names of the columns of sensors begin with."""
MIN_EVENTS = 8
"""Events of each kind below which rank correlations say nothing."""


class SensorCorrelation(TwoSampleMetric):
    """Difference of the rank correlations of the occupancies ``(n, S)``, over batches and ranks."""

    def compute(self) -> Tensor:
        """Mean absolute difference over all pairs of sensors."""
        return torch.tensor(correlation_difference(*self.rows()), dtype=torch.float64)


@score_constructor
def sensor_scores(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """``sensor_correlation`` with a bootstrap error.

    Args:
        reference: True events.
        generated: Generated events of the same sensors.
        seed: Seed of the bootstrap.
    """
    first, second = (occupancies(judged.sample) for judged in (reference, generated))
    fewest = min(len(first), len(second))
    if fewest < MIN_EVENTS or first.shape[1] < 2:
        raise NotRun(
            f"correlations between sensors need {MIN_EVENTS} events of each kind and two sensors, "
            f"got {fewest} events of {first.shape[1]}"
        )
    generator = torch.Generator().manual_seed(seed)
    weights = reference.weight, generated.weight
    draws = []
    for _ in range(REPLICAS):
        p, q = (_draw(len(rows), generator) for rows in (first, second))
        drawn = part(weights[0], p), part(weights[1], q)
        draws.append(correlation_difference(first[p], second[q], *drawn))
    value = correlation_difference(first, second, *weights)
    return {"sensor_correlation": Figure(value, spread(draws))}


@score_constructor
def sensor_means(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """``sensor_occupancy`` and ``sensor_charge`` with bootstrap errors.

    Args:
        reference: True events.
        generated: Generated events of the same sensors.
        seed: Seed of the bootstrap.

    Raises:
        NotRun: If a sensor of the reference has no hit, from which no deviation is relative.
    """
    pixels = reference.observables.spec.shape[1] * reference.observables.spec.shape[2]
    first, second = (
        _replicas(judged.sample, pixels, seed + number)
        for number, judged in enumerate((reference, generated))
    )
    dead = int((first[0][0] == 0).sum())
    if dead:
        raise NotRun(
            f"{dead} sensors of the reference have no hit to which others could be compared"
        )
    draws = torch.tensor(
        [
            deviations(fired, charge, true, total / true)
            for true, total, fired, charge in zip(*first, *second, strict=True)
        ],
        dtype=torch.float64,
    )
    return {
        f"sensor_{name}": Figure(float(draws[0, i]), spread(draws[1:, i]))
        for i, name in enumerate(("occupancy", "charge"))
    }


def sensors(sample: Sample) -> list[int]:
    """Numbers of the sensors in a sample, in the order of the stack."""
    return [int(name.removeprefix(SENSOR)) for name in sample.columns if name.startswith(SENSOR)]


def occupancies(sample: Sample) -> Tensor:
    """Occupancy of each sensor ``(N, S)``."""
    return table(sample, [f"{SENSOR}{number}" for number in sensors(sample)])


def deviations(
    fired: Tensor, charge: Tensor, true_fired: Tensor, true_charge: Tensor
) -> tuple[float, float]:
    """Mean relative deviations over sensors, all ``(S,)``.

    Args:
        fired: Mean number of fired pixels per event.
        charge: Mean charge per event [ADU].
        true_fired: What the first should be.
        true_charge: What the mean charge of a fired pixel should be [ADU].

    Returns:
        Deviation of the number of fired pixels, and of their mean charge (over sensors that fired; NaN if
        none did).
    """
    alive = fired > 0
    ratios = charge[alive] / fired[alive] / true_charge[alive]
    return float((fired / true_fired - 1).abs().mean()), float((ratios - 1).abs().mean())


def published_deviations(fired: Tensor, charge: Tensor, numbers: list[int]) -> tuple[float, float]:
    """:func:`deviations` from the published Geant4 values of the sensors ``numbers``, 0 to 39."""
    published = pxd_reference()
    true = published.mean_occupancy[numbers] * (ROWS * COLS)
    return deviations(fired, charge, true, published.mean_charge[numbers])


class PublishedStatistics(Metric):
    """:func:`published_deviations` over batches and ranks, from summed counts.

    Args:
        numbers: Numbers of the sensors, 0 to 39.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    fired: Tensor
    charge: Tensor
    events: Tensor

    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = list(numbers)
        zero = torch.zeros(len(numbers), dtype=torch.float64)
        self.add_state("fired", zero.clone(), dist_reduce_fx="sum")
        self.add_state("charge", zero.clone(), dist_reduce_fx="sum")
        self.add_state("events", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, fired: Tensor, charge: Tensor) -> None:
        """Add numbers of fired pixels and charges ``(n, S)`` of events."""
        self.fired += fired.sum(0).to(self.fired)
        self.charge += charge.sum(0).to(self.charge)
        self.events += len(fired)

    def compute(self) -> Tensor:
        """Deviations of occupancy and charge ``(2,)``."""
        found = published_deviations(
            (self.fired / self.events).cpu(), (self.charge / self.events).cpu(), self.numbers
        )
        return torch.tensor(found, dtype=torch.float64)


@score_constructor
def reference_stats(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """``reference_stats/occupancy`` and ``reference_stats/charge`` with bootstrap errors.

    Args:
        reference: Not used, since the published numbers stand in its place.
        generated: Events with full images of published sensors.
        seed: Seed of the bootstrap.
    """
    del reference
    sample = generated.sample
    numbers = sensors(sample)
    if not numbers or max(numbers) >= len(pxd_reference().mean_occupancy):
        raise IncompatibleError("published statistics are those of the pixel detector's 40 sensors")
    rows = zip(*_replicas(sample, ROWS * COLS, seed), strict=True)
    draws = torch.tensor(
        [published_deviations(fired, charge, numbers) for fired, charge in rows],
        dtype=torch.float64,
    )
    return {
        f"reference_stats/{name}": Figure(float(draws[0, i]), spread(draws[1:, i]), power=0.0)
        for i, name in enumerate(("occupancy", "charge"))
    }


def _replicas(sample: Sample, pixels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean fired pixels and charge of each sensor, of the events and of replicas of them, ``(1 + R, S)``."""
    weight = torch.cat([sample.weight[None], poisson_weights(sample.weight, REPLICAS, seed)])
    share = weight / weight.sum(1, keepdim=True).clamp(min=1e-300)
    occupancy, charge = (
        sample.profiles[f"{name}_by_sensor"].values for name in ("occupancy", "charge")
    )
    return share @ occupancy * pixels, share @ charge


def _draw(n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(n, (n,), generator=generator)
