r"""Floors: what a perfect generator would score with the same numbers of events.

The floor of a figure is the figure of the reference against independent truth of the generated sample's size
:math:`M`, averaged over as many disjoint parts as there are (at most :data:`DRAWS`).  Where there
is less truth than that, or none (then the reference is cut into halves, in three ways of which none repeats
another), the figure of sizes :math:`n, m` is scaled by

.. math:: \left(\frac{1/N + 1/M}{1/n + 1/m}\right)^{p},

with :math:`p = 1` for separation powers, which grow like the squared deviation, and :math:`p =
1/2` for distances and relative deviations. Numbers of weighted events are effective ones.

A separation power of truth is :math:`K (1/N + 1/M)/4` in the mean with the number :math:`K` of bins that
either sample fills, which itself grows with few events: it is extrapolated from the number :math:`f_j` of
bins with :math:`j` values to samples that are together :math:`1 + t` times as large by :math:`\Delta K =
-\sum_j (-t)^j f_j` (Good and Toulmin, Biometrika 43 (1956) 45), :math:`t \le 1`.

The error of a floor is that of the mean over its draws, from their spread (what all of them share with the
figure itself, the reference, is left out), or the error of the only one; figures whose floor cannot be scaled
have none, and a note says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor

from simulacra.metrics.engine.binning import Binned, Binning, Counts
from simulacra.metrics.engine.compare import Comparison, compare
from simulacra.metrics.engine.response import ratios
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import Figure, Judged, NotRun, Score
from simulacra.metrics.engine.weighted import effective, unequal

DRAWS = 3
"""Disjoint parts of the truth that a floor is averaged over, at most."""
REPLICAS = 20
"""Bootstrap replicas behind the error of a floor of one draw."""

FloorKind = Literal["independent", "scaled", "halves"]
SCALED = "separation powers scaled by filled bins and (1/N + 1/M), W1 and relative deviations by its root"
TEXTS: Mapping[FloorKind, str] = {
    "independent": "reference against independent truth of the generated sample's size",
    "scaled": f"reference against less independent truth than generated events; {SCALED}",
    "halves": f"halves of the reference, cut in three ways; {SCALED}",
}


@dataclass(frozen=True)
class Floor:
    """A floor and its statistical error, where one is known.

    Args:
        value: The floor.
        error: Its error.
        spread: Standard deviation of the figure between samples of the truth of these sizes, where it was
            measured at them.
    """

    value: float
    error: float | None = None
    spread: float | None = None

    def sigmas(self, value: float) -> float | None:
        """By how many standard deviations of the truth's figures a value lies above the floor."""
        if self.spread is None:
            return None
        width = math.hypot(self.spread, self.error or 0.0)
        return (value - self.value) / width if width > 0 else None


@dataclass(frozen=True)
class Floors:
    """Floors by key, and how they were made.

    Args:
        values: Floor of each figure.
        kind: ``"independent"`` truth of the right size, ``"scaled"`` from less truth, ``"halves"``
            of the reference.
        notes: Why a figure has no floor, by ``<key>/floor``.
    """

    values: dict[str, Floor]
    kind: FloorKind
    notes: dict[str, str] = field(default_factory=dict)


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
    quarter = len(reference) // 4
    if not quarter:
        half = len(reference) // 2
        return [(reference.between(0, half), reference.between(half, len(reference)))], "halves"
    parts = torch.arange(4 * quarter).view(4, quarter)
    return [
        (reference.take(parts[[0, i]].flatten()), reference.take(parts[rest].flatten()))
        for i, rest in ((1, [2, 3]), (2, [1, 3]), (3, [1, 2]))
    ], "halves"


def floors(reference: Sample, truth: Sample | None, size: int, binning: Binning) -> Floors:
    """Floors of all figures of observables for ``size`` generated events."""
    chosen, kind = pairs(reference, truth, size)
    replicas = REPLICAS if len(chosen) == 1 else 0
    binned = [(Binned(first, binning), Binned(second, binning)) for first, second in chosen]
    found = [compare(first, second, replicas, _generator()) for first, second in binned]
    sizes = [effective(sample.weight) for sample in chosen[0]]
    wanted = [effective(reference.weight), float(size)]
    fuller = (
        {} if kind == "independent" else _filling(binned[0], binning, sum(wanted) / sum(sizes) - 1)
    )
    values = {
        key: _scaled(key, _drawn(key, found), (sizes[0], sizes[1]), (wanted[0], wanted[1]), fuller)
        for key in found[0].values
        if all(key in item.values for item in found)
    }
    for name, members in binning.groups.items() if fuller else ():
        key = f"separation_mean/{name}"
        if key in values and all(f"separation/{item}" in values for item in members):
            mean = sum(values[f"separation/{item}"].value for item in members) / len(members)
            known = values[key]
            error = None if known.error is None else known.error * mean / (known.value or 1.0)
            values[key] = Floor(mean, error)
    return Floors(values, kind)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _drawn(key: str, found: Sequence[Comparison]) -> Floor:
    """Mean over draws (of relative deviations, which have a sign, the root of the mean square)."""
    values = torch.tensor([item.values[key] for item in found], dtype=torch.float64)
    if len(values) == 1:
        return Floor(abs(float(values[0])), found[0].errors.get(key))
    if key.startswith(("response/", "resolution/")):
        root = float(values.square().mean().sqrt())
        return Floor(root, root / math.sqrt(2 * len(values)))
    return Floor(float(values.mean()), float(values.std()) / math.sqrt(len(values)))


def _scaled(
    key: str,
    floor: Floor,
    found: tuple[float, float],
    wanted: tuple[float, float],
    fuller: Mapping[str, float],
) -> Floor:
    figure = Figure(floor.value, power=1.0 if key.startswith("separation") else 0.5)
    return _times(floor, figure.factor(found, wanted) * fuller.get(key, 1.0))


def _times(floor: Floor, factor: float) -> Floor:
    return Floor(floor.value * factor, None if floor.error is None else floor.error * factor)


def _filling(pair: tuple[Binned, Binned], binning: Binning, extra: float) -> dict[str, float]:
    """By what factor the number of filled bins grows if there are ``1 + extra`` times as many events, by the
    key of the separation power; nothing where events have weights.
    """
    if any(unequal(part.sample.weight) is not None for part in pair):
        return {}
    counts = {
        f"separation/{name}": [part.counts(name).plain for part in pair] for name in binning.edges
    }
    for item, edges in binning.response:
        counts[f"separation/response/{item.name}"] = [
            Counts(ratios(part.sample, item), edges).plain for part in pair
        ]
    return {
        key: _growth((parts[0] + parts[1])[1:-1], min(extra, 1.0)) for key, parts in counts.items()
    }


def _growth(counts: Tensor, extra: float) -> float:
    """Expected number of filled bins over the present one."""
    filled = int((counts > 0).sum())
    if not filled or extra <= 0:
        return 1.0
    numbers = counts[(counts > 0) & (counts < 50)]  # of more than that, none is missing
    gained = -float(torch.pow(torch.tensor(-extra, dtype=torch.float64), numbers).sum())
    return 1 + min(max(gained, 0.0), len(counts) - filled) / filled


def score_floors(
    score: Score, reference: Judged, truth: Judged | None, size: int, seed: int
) -> Floors:
    """Floors of a score for ``size`` generated events; none where truth is too small for it."""
    chosen, kind = pairs(reference, truth, size)
    try:
        found = [score(first, second, seed) for first, second in chosen]
    except NotRun:
        return Floors({}, kind)
    first, second = chosen[0]
    sizes, wanted = (first.effective, second.effective), (reference.effective, float(size))
    values, notes = {}, {}
    for key, figure in found[0].items():
        factor = figure.factor(sizes, wanted)
        draws = [item[key] for item in found if key in item]
        if math.isfinite(factor):
            floor = _mean(draws)
            values[key] = floor if kind == "independent" else _times(floor, factor)
        elif figure.power is None:
            notes[f"{key}/floor"] = (
                f"none: it depends on the number of events, and {kind_text(kind)} holds fewer; "
                "give truth of the generated sample's size"
            )
        else:
            least = min(figure.used(sizes))
            notes[f"{key}/floor"] = (
                f"none: {least:.0f} events in {kind_text(kind)} are fewer than {figure.least:.0f}, from "
                "which it could be scaled"
            )
    return Floors(values, kind, notes)


def kind_text(kind: FloorKind) -> str:
    """What a floor that is not measured at the right size comes from."""
    return "half of the reference" if kind == "halves" else "the independent truth"


def _mean(figures: Sequence[Figure]) -> Floor:
    """Mean over draws, with the error of their spread, or of the only one; the figures' own errors give the
    spread between samples.
    """
    values = torch.tensor([item.value for item in figures], dtype=torch.float64)
    errors = [item.error for item in figures if item.error is not None]
    known = bool(errors) and len(errors) == len(figures)
    spread = math.hypot(*errors) / math.sqrt(len(errors)) if known else None
    if len(values) > 1:
        return Floor(float(values.mean()), float(values.std()) / math.sqrt(len(values)), spread)
    return Floor(float(values[0]), figures[0].error, spread)
