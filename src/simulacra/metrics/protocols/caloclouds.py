r"""The table of CaloClouds: W1 of 26 standardised observables (arXiv:2309.05704, function ``calc_wdist`` of
its code).

Observables are standardised by mean and standard deviation of the reference and compared in ten batches of
at most 50,000 events. A single observable has mean and (population) standard deviation over the batches; a
group of ten has the mean of its ten values and, as published, the error :math:`\sqrt{\sum \sigma^2}`.

Note:
    Values are in standard deviations of the reference: the published table has them times 100. The hit
    energy of an event is one of its hits, drawn at random; the public code takes the first hits of the file
    instead. The depth is along y, as in the data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.metrics.distances.wasserstein import wasserstein
from simulacra.metrics.engine.columns import one_of_each, table
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import (
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    score_constructor,
)
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weight, Weights, part

BATCHES, SIZE = 10, 50_000
GROUPS: dict[str, tuple[str, ...]] = {
    "cog_x": ("cog_x",),
    "cog_y": ("cog_y",),
    "cog_z": ("cog_z",),
    "occupancy": ("n_hit",),
    "sampling_fraction": ("e_tot_over_e_inc",),
    "layers": tuple(f"energy_layers_{number}" for number in range(10)),
    "radial": tuple(f"energy_ring_{number}" for number in range(10)),
}
"""Observables of each group; the hits are a further one."""


def batched_wasserstein(
    reference: Tensor,
    generated: Tensor,
    batches: int = BATCHES,
    size: int = SIZE,
    generator: torch.Generator | None = None,
    weights: Weights = UNWEIGHTED,
) -> Tensor:
    """W1 of every observable in every batch.

    Args:
        reference: Observables ``(N, F)``, NaN where undefined.
        generated: Observables ``(M, F)``.
        batches: Number of batches.
        size: Events per batch, at most.
        generator: Randomness of the shuffling.
        weights: Weights of the true and of the generated events, which stay with them.

    Returns:
        Distances ``(F, batches)`` in standard deviations of the reference.

    Raises:
        NotRun: If there are fewer than two events per batch.
    """
    size = min(size, len(reference) // batches, len(generated) // batches)
    if size < 2:
        fewest = min(len(reference), len(generated))
        raise NotRun(f"{batches} batches need {2 * batches} events of each kind, got {fewest}")
    mean = _nanmean(reference, weights[0])
    scale = _nanmean((reference - mean).square(), weights[0]).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    parts = []
    for rows, weight in zip((reference, generated), weights, strict=True):
        order = torch.randperm(len(rows), generator=generator)[: size * batches]
        scaled = ((rows[order] - mean) / scale).split(size)
        parts.append(
            [(x, part(weight, index)) for x, index in zip(scaled, order.split(size), strict=True)]
        )
    return torch.stack([
        torch.stack([_distance(p, q, f) for p, q in zip(*parts, strict=True)])
        for f in range(reference.shape[1])
    ])  # fmt: skip


def _nanmean(values: Tensor, weight: Weight) -> Tensor:
    """Mean ``(F,)`` of the finite ones of ``(N, F)`` over weighted events."""
    if weight is None:
        return values.nanmean(0)
    return weight @ values.nan_to_num() / (weight @ values.isfinite().double())


def _distance(
    reference: tuple[Tensor, Weight], generated: tuple[Tensor, Weight], column: int
) -> Tensor:
    kept = []
    for rows, weight in (reference, generated):
        finite = rows[:, column].isfinite()
        kept.append((rows[finite, column], part(weight, finite)))
    return wasserstein(kept[0][0], kept[1][0], kept[0][1], kept[1][1])


def combine(distances: Tensor) -> Figure:
    """Figure of a group from its distances ``(F, batches)``."""
    error = math.sqrt(float(distances.var(1, unbiased=False).sum()))
    return Figure(float(distances.mean()), error)


class BatchedWasserstein(TwoSampleMetric):
    """:func:`batched_wasserstein` over batches and ranks.

    Args:
        batches: Number of batches.
        size: Events per batch, at most.
        seed: Seed of the shuffling.
    """

    def __init__(self, batches: int = BATCHES, size: int = SIZE, seed: int = 0) -> None:
        super().__init__()
        self.batches, self.size, self.seed = batches, size, seed

    def compute(self) -> Tensor:
        """Distances ``(F, batches)``."""
        generator = torch.Generator().manual_seed(self.seed)
        return batched_wasserstein(*self.rows(), self.batches, self.size, generator)


@score_constructor
def caloclouds_score(
    reference: Judged,
    generated: Judged,
    seed: int,
    batches: Count = BATCHES,
    size: Count = SIZE,
) -> dict[str, Figure]:
    """``caloclouds/<group>`` in standard deviations of the reference.

    Args:
        reference: True showers, clouds of points.
        generated: Generated showers.
        seed: Seed of the shuffling and of the hits that are drawn.
        batches: Number of batches.
        size: Events per batch, at most.
    """
    generator = torch.Generator().manual_seed(seed)
    pair = [observables(judged.sample, generator) for judged in (reference, generated)]
    weights = reference.weight, generated.weight
    distances = batched_wasserstein(pair[0], pair[1], batches, size, generator, weights)
    found, start = {}, 0
    for name, members in {**GROUPS, "hits": ("hit_energy",)}.items():
        found[f"caloclouds/{name}"] = combine(distances[start : start + len(members)])
        start += len(members)
    return found


@constructor
def classifier_inputs(judged: Judged) -> Tensor:
    """The 25 observables ``(N, 25)`` that the published classifier sees, all but the hit energy; 0 where one
    is undefined.
    """
    names = [name for members in GROUPS.values() for name in members]
    return table(judged.sample, names).nan_to_num(0.0)


def observables(sample: Sample, generator: torch.Generator) -> Tensor:
    """The 26 observables ``(N, 26)``: those of :data:`GROUPS` in order, then one hit energy."""
    scalars = table(sample, [name for members in GROUPS.values() for name in members])
    return torch.cat([scalars, one_of_each(sample, "hit_energy", generator)[:, None]], dim=1)
