"""Where two samples differ, by a ratio of their densities that a test has learned."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from simulacra.metrics.distances.separation import separation_of_counts
from simulacra.metrics.engine.assemble import histogram
from simulacra.metrics.engine.binning import Binned, Binning
from simulacra.metrics.engine.result import Histogram
from simulacra.metrics.engine.score import Judged

SHOWN = 6
"""Observables that are shown, at most."""


def where(reference: Judged, ratio: Tensor) -> dict[str, Histogram]:
    """The observables whose distribution in the truth is changed most by weights.

    Args:
        reference: The truth.
        ratio: Ratio of densities of its events, generated over true ``(N,)``.

    Returns:
        By name, those of one value per event: the truth and, as ``generated``, the truth with these weights.
        The quotient of both is the mean ratio as a function of the observable.
    """
    sample = reference.sample
    other = replace(sample, weight=sample.weight * ratio)
    binning = Binning.of(sample, reference.observables)
    pair = Binned(sample, binning), Binned(other, binning)
    moved = {}
    for name, column in sample.columns.items():
        if column.scalar and column.n:
            counts = pair[0].counts(name)
            weighted = [counts.of(item.weight[None])[:, 1:-1] for item in (sample, other)]
            moved[name] = float(separation_of_counts(*weighted))
    chosen = sorted(moved, key=lambda name: -moved[name])[:SHOWN]
    return {
        name: replace(histogram(pair, name, binning.edges[name]), agreement=None) for name in chosen
    }
