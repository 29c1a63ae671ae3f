r"""Published figures of photon showers in the ILD calorimeter.

Getting High (arXiv:2005.05334, function ``runCorrelations`` and ``fit90`` of its code):

* ``correlation_ild``, the mean absolute difference of the Pearson correlations of twelve quantities of a
  shower, :math:`m_{1,xyz}, m_{2,xyz}, E_{vis}, E_{inc}, n_{hit}, E_1/E_{vis}, E_2/E_{vis}, E_3/E_{vis}`
  (thirds of the depth), over their 66 pairs and at most the first 30,000 showers;
* ``mu90/<energy>`` and ``sigma90/<energy>``, the absolute relative deviations of mean and standard deviation
  of the visible energy in the shortest interval with 90 % of the showers, whose incident energy lies within
  2 GeV of the one named; published widths are larger, because ``fit90`` cuts an arbitrary 90 %
  (:mod:`simulacra.metrics.engine.response`);
* ``separation/visible/<energy>`` and ``separation/hits/<energy>``, separation powers in the published
  histograms of visible energy (150 to 1900 MeV) and number of hits (200 to 1400) at 20, 50 and 80 GeV.

ConvL2LFlow (arXiv:2405.20407) has its own: :mod:`simulacra.metrics.engine.splits`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core.ranges import Positive
from simulacra.metrics.distances.separation import separation_of_counts
from simulacra.metrics.engine.bins import histogram
from simulacra.metrics.engine.columns import poisson_weights, spread, table
from simulacra.metrics.engine.response import MIN_EVENTS, Peak, peak
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import (
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    score_constructor,
)
from simulacra.metrics.engine.weighted import Weight, effective, unequal
from simulacra.physics.base import even_edges

SHAPES = (
    *("m1_x", "m1_y", "m1_z", "m2_x", "m2_y", "m2_z"),
    *("e_tot", "n_hit", "third_1", "third_2", "third_3"),
)
"""Columns of the correlation matrix, to which the incident energy is added."""
SHOWERS = 30_000
"""Showers in a correlation matrix, at most."""
SHOWERS_PER_ENERGY = 4_000
"""Showers per energy, at most."""
REPLICAS = 20
"""Bootstrap replicas behind an error."""
HISTOGRAMS = {"visible": ("e_tot", 150.0, 1900.0), "hits": ("n_hit", 200.0, 1400.0)}
"""Column and range [MeV, hits] of the published histograms of 100 bins."""


def correlations(rows: Tensor, weight: Tensor | None = None) -> Tensor:
    """Pearson correlations of pairwise complete rows.

    Args:
        rows: Values ``(N, F)``, NaN where undefined.
        weight: Weights ``(N,)``, or None for unit weights.

    Returns:
        ``(F, F)``, float64; 0 for a quantity that never varies, as the public code counts it.
    """
    known = torch.isfinite(rows).double()
    weighted = known if weight is None else known * weight[:, None]
    centred = torch.where(known > 0, rows.double() - rows.double().nanmean(0), 0.0)
    n = weighted.T @ known
    first = centred.T @ weighted  # sum of the row quantity where the column's is known
    second = (centred.square()).T @ weighted
    product = centred.T @ (weighted * centred)
    covariance = product / n - (first / n) * (first.T / n)
    variance = (second / n - (first / n).square()).clamp(min=0)
    scale = (variance * variance.T).sqrt()
    rounding = 1e-14 * (second / n * (second / n).T).sqrt()
    return torch.where(scale > rounding, covariance / scale, 0.0)


def correlation_difference(
    reference: Tensor,
    generated: Tensor,
    reference_weight: Tensor | None = None,
    generated_weight: Tensor | None = None,
) -> float:
    """Mean absolute difference of the correlations over all pairs of columns of ``(N, F)`` and ``(M, F)``."""
    difference = correlations(reference, reference_weight) - correlations(
        generated, generated_weight
    )
    rows, cols = torch.tril_indices(len(difference), len(difference), offset=-1)
    return float(difference[rows, cols].abs().mean())


class CorrelationDifference(TwoSampleMetric):
    """:func:`correlation_difference` over batches and ranks."""

    def compute(self) -> Tensor:
        """Mean absolute difference of the correlations."""
        return torch.tensor(correlation_difference(*self.rows()), dtype=torch.float64)


def shapes(sample: Sample) -> Tensor:
    """The twelve correlated quantities ``(N, 12)``, of the first 30,000 showers."""
    if sample.response is None:
        raise NotRun("correlations of shower shapes need an incident energy")
    rows = torch.cat([table(sample, SHAPES), sample.response[0][:, None]], dim=1)
    return rows[:SHOWERS]


@score_constructor
def correlation_score(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """``correlation_ild`` with a bootstrap error."""
    pair = shapes(reference.sample), shapes(generated.sample)
    weights = [
        poisson_weights(judged.sample.weight[: len(rows)], REPLICAS, seed + number)
        for number, (judged, rows) in enumerate(zip((reference, generated), pair, strict=True))
    ]
    replicas = [
        correlation_difference(*pair, *drawn) for drawn in zip(weights[0], weights[1], strict=True)
    ]
    value = correlation_difference(
        *pair, reference.sample.weight[: len(pair[0])], generated.sample.weight[: len(pair[1])]
    )
    return {"correlation_ild": Figure(value, spread(replicas))}


@score_constructor
def energy_score(
    reference: Judged,
    generated: Judged,
    seed: int,
    energies: Sequence[float] | None = (20, 30, 40, 50, 60, 70, 80, 90),
    window: Positive = 2.0,
    histograms: Sequence[float] = (20, 50, 80),
    unit: float = 1000.0,
) -> dict[str, Figure]:
    """Linearity, resolution and published histograms at the energies that the data hold.

    Args:
        reference: True showers.
        generated: Generated showers.
        seed: Not used: nothing is drawn.
        energies: Incident energies [GeV] of mean and width, or None for no such figures.
        window: Distance from such an energy up to which a shower counts [GeV].
        histograms: Incident energies of the histograms [GeV].
        unit: Unit of the visible energy per GeV.

    Raises:
        NotRun: If no energy has 30 showers in both samples.
    """
    del seed
    found: dict[str, Figure] = {}
    energies = energies or ()
    for energy in sorted({*energies, *histograms}):
        pair = [at_energy(j.sample, energy * unit, window * unit) for j in (reference, generated)]
        if min(len(rows) for rows, _ in pair) < MIN_EVENTS:
            continue
        name = f"{energy:g}GeV"
        if energy in energies:
            p, q = (peak(rows[:, 0], weight=weight) for rows, weight in pair)
            found[f"mu90/{name}"] = _deviation(p, q, "mean")
            found[f"sigma90/{name}"] = _deviation(p, q, "width")
        if energy in histograms:
            found |= _histograms(pair[0], pair[1], name)
    if not found:
        raise NotRun(f"no published energy has {MIN_EVENTS} showers within {window:g} GeV")
    return found


def at_energy(sample: Sample, energy: float, window: float) -> tuple[Tensor, Weight]:
    """Visible energy and number of hits ``(n, 2)`` of the first showers within a window of energy, and their
    weights.
    """
    if sample.response is None:
        raise NotRun("linearity and resolution need an incident energy")
    inside = ((sample.response[0] - energy).abs() < window).nonzero()[:SHOWERS_PER_ENERGY, 0]
    found = table(sample, [name for name, _, _ in HISTOGRAMS.values()])
    return found[inside], unequal(sample.weight[inside])


def _deviation(reference: Peak, generated: Peak, name: str) -> Figure:
    """Absolute relative deviation of the mean or width; the error is that of the published figure."""
    p, q = getattr(reference, name), getattr(generated, name)
    errors = [getattr(item, f"{name}_error") for item in (reference, generated)]
    return Figure(abs(q / p - 1), math.hypot(errors[1] / p, errors[0] * q / p**2))


def _histograms(
    reference: tuple[Tensor, Weight], generated: tuple[Tensor, Weight], name: str
) -> dict[str, Figure]:
    """Separation powers in 100 bins, with the error of counting."""
    found = {}
    for position, (key, (_, low, high)) in enumerate(HISTOGRAMS.items()):
        edges = even_edges(low, high, 100)
        counts = []
        for rows, weight in (reference, generated):
            found_counts = histogram(rows[:, position], edges, weight)[1:-1]
            size = 1.0 if weight is None else effective(weight) / float(weight.sum())
            counts.append(found_counts * size)  # of as many events as they are worth
        if min(float(part.sum()) for part in counts):
            value = float(separation_of_counts(counts[0], counts[1]))
            found[f"separation/{key}/{name}"] = Figure(value, _counting(*counts), power=1.0)
    return found


def _counting(reference: Tensor, generated: Tensor) -> float:
    """Error of a separation power from Poisson fluctuations of the counts."""
    generator = torch.Generator().manual_seed(0)
    draws = [
        separation_of_counts(
            torch.poisson(reference, generator=generator),
            torch.poisson(generated, generator=generator),
        )
        for _ in range(REPLICAS)
    ]
    return spread(torch.stack(draws))
