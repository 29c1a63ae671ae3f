r"""Floors: what a perfect generator would score with the same numbers of events.

The floor of a figure is the figure of the reference against independent truth of the generated sample's size
:math:`M`, averaged over as many disjoint parts as there are (at most :data:`DRAWS`).  Where there
is less truth than that, or none (then the reference is cut into halves), the figure of sizes
:math:`n, m` is scaled by

.. math:: \left(\frac{1/N + 1/M}{1/n + 1/m}\right)^{p},

with :math:`p = 1` for separation powers, which grow like the squared deviation, and :math:`p =
1/2` for distances and relative deviations; a scaled floor is marked. Numbers of weighted events are effective
ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

from simulacra.metrics.engine.binning import Binned, Binning
from simulacra.metrics.engine.compare import compare
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import Figure, Judged, NotRun, Score
from simulacra.metrics.engine.weighted import effective

DRAWS = 3
"""Disjoint parts of the truth that a floor is averaged over, at most."""

FloorKind = Literal["independent", "scaled", "halves"]


@dataclass(frozen=True)
class Floors:
    """Floors by key, and how they were made.

    Args:
        values: Floor of each figure.
        kind: ``"independent"`` truth of the right size, ``"scaled"`` from less truth, ``"halves"``
            of the reference.
    """

    values: dict[str, float]
    kind: FloorKind


Part = TypeVar("Part", Sample, Judged)


def pairs(
    reference: Part, truth: Part | None, size: int
) -> tuple[list[tuple[Part, Part]], FloorKind]:
    """Pairs of independent truth to be compared, and the kind of floor they give.

    Args:
        reference: The truth that the generated sample is compared with.
        truth: Independent truth, or None.
        size: Effective number of generated events.
    """
    if truth is not None and len(truth) >= size:
        count = min(DRAWS, len(truth) // size)
        return [
            (reference, truth.between(i * size, (i + 1) * size)) for i in range(count)
        ], "independent"
    if truth is not None:
        return [(reference, truth)], "scaled"
    n = len(reference)
    return [(reference.between(0, n // 2), reference.between(n // 2, n))], "halves"


def floors(reference: Sample, truth: Sample | None, size: int, binning: Binning) -> Floors:
    """Floors of all figures of observables for ``size`` generated events."""
    chosen, kind = pairs(reference, truth, size)
    draws: dict[str, list[float]] = {}
    for first, second in chosen:
        found = compare(Binned(first, binning), Binned(second, binning))
        for key, value in found.values.items():
            draws.setdefault(key, []).append(value)
    sizes = effective(chosen[0][0].weight), effective(chosen[0][1].weight)
    wanted = effective(reference.weight), float(size)
    values = {}
    for key, drawn in draws.items():
        signed = key.startswith(("response/", "resolution/"))
        mean = (
            math.sqrt(sum(v * v for v in drawn) / len(drawn)) if signed else sum(drawn) / len(drawn)
        )
        figure = Figure(mean, power=1.0 if key.startswith("separation") else 0.5)
        values[key] = figure.scaled(sizes, wanted)
    return Floors(values, kind)


def score_floors(
    score: Score, reference: Judged, truth: Judged | None, size: int, seed: int
) -> dict[str, float]:
    """Floors of a score for ``size`` generated events; nothing where truth is too small for it."""
    first, second = pairs(reference, truth, size)[0][0]
    try:
        found = score(first, second, seed)
    except NotRun:
        return {}
    sizes, wanted = (first.effective, second.effective), (reference.effective, float(size))
    return {key: figure.scaled(sizes, wanted) for key, figure in found.items()}
