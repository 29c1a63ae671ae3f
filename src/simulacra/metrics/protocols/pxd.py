r"""Scores of pixel sensors, from the occupancies and charges that a sample was reduced to.

``sensor_correlation`` is the mean absolute difference of the rank correlations of the sensors' occupancies,
over all pairs of sensors (arXiv:2303.08046, correlation of intra-event sensors). Independent images have
correlation 0, so a generator that ignores the event scores the mean correlation of the truth.

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


def sensors(sample: Sample) -> list[int]:
    """Numbers of the sensors in a sample, in the order of the stack."""
    return [int(name.removeprefix(SENSOR)) for name in sample.columns if name.startswith(SENSOR)]


def occupancies(sample: Sample) -> Tensor:
    """Occupancy of each sensor ``(N, S)``."""
    return table(sample, [f"{SENSOR}{number}" for number in sensors(sample)])


def published_deviations(fired: Tensor, charge: Tensor, numbers: list[int]) -> tuple[float, float]:
    """Mean relative deviations of occupancy and charge from the published Geant4 values.

    Args:
        fired: Mean number of fired pixels per event ``(S,)``.
        charge: Mean charge per event ``(S,)`` [ADU].
        numbers: Numbers of the sensors, 0 to 39.

    Returns:
        Deviation of the mean occupancy, and of the mean charge of fired pixels (over sensors that fired).
    """
    published = pxd_reference()
    occupancy = published.mean_occupancy[numbers]
    mean_charge = published.mean_charge[numbers]
    alive = fired > 0
    ratios = charge[alive] / fired[alive] / mean_charge[alive]
    return (
        float((fired / (ROWS * COLS) / occupancy - 1).abs().mean()),
        float((ratios - 1).abs().mean()),
    )


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
    fired = sample.profiles["occupancy_by_sensor"].values * (ROWS * COLS)
    charge = sample.profiles["charge_by_sensor"].values
    weight = torch.cat([sample.weight[None], poisson_weights(sample.weight, REPLICAS, seed)])
    share = weight / weight.sum(1, keepdim=True).clamp(min=1e-300)
    draws = torch.tensor(
        [published_deviations(row @ fired, row @ charge, numbers) for row in share],
        dtype=torch.float64,
    )
    return {
        f"reference_stats/{name}": Figure(float(draws[0, i]), spread(draws[1:, i]), power=0.0)
        for i, name in enumerate(("occupancy", "charge"))
    }


def _draw(n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(n, (n,), generator=generator)
