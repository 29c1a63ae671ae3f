r"""Floors: what a perfect generator would score with the same numbers of events.

The floor of a figure is the figure of the reference against independent truth of the generated sample's size
:math:`M`, averaged over as many disjoint parts as there are (at most :data:`DRAWS`).  Where there
is less truth than that, or none (then the reference is cut into halves), the figure of sizes
:math:`n, m` is scaled by

.. math:: \left(\frac{1/N + 1/M}{1/n + 1/m}\right)^{p},

with :math:`p = 1` for separation powers, which grow like the squared deviation, and :math:`p =
1/2` for distances and relative deviations; a scaled floor is marked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from simulacra.metrics.compare import Binning, compare
from simulacra.metrics.sample import Sample

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


def pairs(
    reference: Sample, truth: Sample | None, size: int
) -> tuple[list[tuple[Sample, Sample]], FloorKind]:
    """Pairs of independent truth to be compared, and the kind of floor they give.

    Args:
        reference: The truth that the generated sample is compared with.
        truth: Independent truth, or None.
        size: Number of generated events.
    """
    if truth is not None and truth.events >= size:
        count = min(DRAWS, truth.events // size)
        return [
            (reference, truth.between(i * size, (i + 1) * size)) for i in range(count)
        ], "independent"
    if truth is not None:
        return [(reference, truth)], "scaled"
    middle = reference.events // 2
    return [(reference.between(0, middle), reference.between(middle, reference.events))], "halves"


def floors(reference: Sample, truth: Sample | None, size: int, binning: Binning) -> Floors:
    """Floors of all figures of observables for ``size`` generated events."""
    chosen, kind = pairs(reference, truth, size)
    draws: dict[str, list[float]] = {}
    for first, second in chosen:
        for key, value in compare(first, second, binning).values.items():
            draws.setdefault(key, []).append(value)
    first, second = chosen[0]
    ratio = (1 / reference.events + 1 / size) / (1 / first.events + 1 / second.events)
    values = {}
    for key, found in draws.items():
        signed = key.startswith(("response/", "resolution/"))
        mean = (
            math.sqrt(sum(v * v for v in found) / len(found)) if signed else sum(found) / len(found)
        )
        values[key] = mean * ratio ** (1.0 if key.startswith("separation/") else 0.5)
    return Floors(values, kind)
