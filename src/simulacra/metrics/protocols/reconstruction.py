r"""What a physicist would reconstruct: energies, places and directions of showers, and two that are near.

Grids and clouds are judged alike, as energies at points in space (:mod:`simulacra.physics.deposits`):

- response, linearity and resolution (:mod:`~simulacra.metrics.protocols.reconstruction_energy`);
- place and direction (:mod:`~simulacra.metrics.protocols.reconstruction_place`);
- the smallest distance of two showers (:mod:`~simulacra.metrics.protocols.reconstruction_separation`);
- energies by what was learned from the other sample
  (:mod:`~simulacra.metrics.protocols.reconstruction_transfer`).

Each figure is an absolute difference from the truth, with its error; details hold both numbers, the
difference in :math:`\sigma` with its sign, and the number of an *ideal sampler*: true showers in another
representation (:meth:`~simulacra.physics.base.ObservableSet.idealised`), whose distance from the truth is
what a representation costs where the generator is perfect. Sums of energies are the same in it, so it has
places, directions and separations. ``reconstruction/sigma`` is the root mean square of all differences in
:math:`\sigma`: about 1 for the truth.

Reference: the levels of arXiv:2511.17293; the algorithms here are our own and simple ones.
"""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.ranges import Count, Positive
from simulacra.core.units import factor
from simulacra.metrics.engine.columns import poisson_weights
from simulacra.metrics.engine.curve import Curve, Series
from simulacra.metrics.engine.response import MIN_EVENTS
from simulacra.metrics.engine.score import Figure, Judged, NotRun, chunks, score_constructor
from simulacra.metrics.protocols.reconstruction_energy import drawn, fit
from simulacra.metrics.protocols.reconstruction_estimate import Estimate, difference, estimate
from simulacra.metrics.protocols.reconstruction_place import medians, placed, widths
from simulacra.metrics.protocols.reconstruction_separation import (
    Pairs,
    Readout,
    draw_pairs,
    found_two,
    separation,
)
from simulacra.metrics.protocols.reconstruction_transfer import transfer
from simulacra.physics.base import Axis, even_edges
from simulacra.physics.deposits import Deposits

REPLICAS = 30
"""Replicas of a bootstrap behind each error."""
FEW = 10
"""Replicas behind the errors of what is only drawn."""
BINS = 8
"""Bins of energy in which curves are drawn."""
CHUNK_VALUES = 2**21
"""Values of events that are read at once."""
RELATIVE = ("response", "resolution", "position", "direction")
"""Figures that are differences over the truth's number."""
CURVES = {
    "response": (r"mean of $E_\mathrm{{seen}} / E_\mathrm{{inc}}$", ""),
    "resolution": (r"$\sigma / E$", ""),
    "position": (r"$\sigma$ of the place along ${}$", "mm"),
    "direction": (r"$\sigma$ of the angle along ${}$", "mrad"),
    "separation": ("share found as two, {}", ""),
}
"""Text and unit of what is drawn."""


@dataclass(frozen=True)
class Frame:
    """What both samples share, taken from the truth.

    Args:
        middle: Geometric mean of the incident energies [GeV].
        edges: Bins of energy ``(K + 1,)`` [GeV].
    """

    middle: float
    edges: Tensor


@dataclass(frozen=True)
class Found:
    """What is reconstructed of a sample.

    Args:
        estimates: Numbers by name.
        series: Curves by name.
        pairs: Number of pairs by name.
        centre: Median place of the showers ``(2,)`` [mm].
        undefined: Showers that have no place.
    """

    estimates: Mapping[str, Estimate]
    series: Mapping[str, Series]
    pairs: Mapping[str, int]
    centre: Tensor
    undefined: int


@score_constructor
@dataclass(frozen=True)
class Reconstruction:
    """``reconstruction/…`` as a score.

    Args:
        pitch: Size of the cells that two showers are read out in [mm].
        fainter: Range of the fainter shower's incident energy [GeV].
        ratios: Energy of the brighter over that of the fainter shower.
        distances: Between two showers, in rising order [mm].
        pairs: Pairs per ratio, at most.
        events: Showers of each sample, at most.
        log_weight: Number of the logarithmic weights of places and directions; None: energies weigh.
        sampling: Weight of each layer ``(L,)`` in the energy that is seen, where absorbers differ; None: all
            count alike.
    """

    pitch: Positive
    fainter: tuple[float, float]
    ratios: Sequence[float]
    distances: Sequence[float]
    pairs: Count = 200
    events: Count = 10_000
    log_weight: float | None = None
    sampling: Sequence[float] | None = None
    _last: list[tuple[weakref.ref[Judged], int, Found, Found]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        steps = np.diff(self.distances)
        if len(steps) < 1 or not (steps > 0).all() or self.distances[0] < 0:
            raise UserError(
                f"distances of two showers rise from 0 or more, got {list(self.distances)}"
            )

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """All figures.

        Raises:
            NotRun: Without incident energies or deposits, with fewer than 100 showers or energies all alike,
                or if no true shower has energy.
        """
        first, second = (
            item.between(0, min(len(item), self.events)) for item in (reference, generated)
        )
        frame = _frame(first)
        truth, ideal = self._truth(reference, first, frame, seed)
        made = self._found(second, frame, seed + 2, truth.centre)
        learned = transfer(
            (first.sample, second.sample),
            (_weights(first, seed), _weights(second, seed + 2)),
            (_generator(seed), _generator(seed + 2)),
            self.events,
        )
        figures = {**self._figures(truth, made, ideal), **learned}
        pulls = [figure.details["sigma"] for figure in figures.values()]
        known = [pull for pull in pulls if math.isfinite(pull)]
        rms = math.sqrt(sum(pull**2 for pull in known) / len(known)) if known else math.nan
        remarks = [
            f"{found.undefined} {name} showers without energy have no place"
            for name, found in (("true", truth), ("generated", made))
            if found.undefined
        ]
        remarks += [] if learned else ["too few showers to learn energies from"]
        figures["sigma"] = Figure(
            rms,
            1 / math.sqrt(2 * max(1, len(known))),
            power=0.0,
            most=self.events,
            note="; ".join(remarks) or None,
        )
        return {f"reconstruction/{name}": figure for name, figure in figures.items()}

    def _truth(
        self, reference: Judged, first: Judged, frame: Frame, seed: int
    ) -> tuple[Found, Found]:
        """Of the truth and of the ideal sampler, which floors need again with other generated showers."""
        for known, number, truth, ideal in self._last:
            if known() is reference and number == seed:
                return truth, ideal
        truth = self._found(first, frame, seed)
        ideal = self._found(first, frame, seed, truth.centre, ideal=True)
        self._last[:] = [(weakref.ref(reference), seed, truth, ideal)]
        return truth, ideal

    def _found(
        self,
        sample: Judged,
        frame: Frame,
        seed: int,
        centre: Tensor | None = None,
        ideal: bool = False,
    ) -> Found:
        """Everything but what is learned; of an ideal sampler no sums of energies."""
        generator, weights = _generator(seed), _weights(sample, seed)
        energy = _energies(sample)
        pairs = {
            _ratio(ratio): draw_pairs(
                energy, sample.weight, ratio, self.fainter, self.pairs, generator
            )
            for ratio in self.ratios
        }
        pairs = {name: item for name, item in pairs.items() if len(item) >= MIN_EVENTS}
        places, kept, numbered = _seen(
            sample, pairs, self.log_weight, _generator(seed + 1) if ideal else None
        )
        estimates, series = ({}, {}) if ideal else self._energy(sample, frame, weights)
        for start, kind in ((0, "position"), (2, "direction")):
            for number, name in enumerate(kept.axes, start=start):
                values = places[:, number]
                estimates[f"{kind}_{name}"] = estimate(widths(values, weights))
                if kind == "position":
                    estimates[f"offset_{name}"] = estimate(medians(values, weights))
                series[f"{kind}_{name}"] = _in_bins(values, energy, weights, frame.edges)
        if centre is None:
            middles = [estimates[f"offset_{name}"].value for name in kept.axes]
            centre = torch.tensor(middles, dtype=torch.float64)
            if not bool(centre.isfinite().all()):
                raise NotRun("no true shower has energy")
        spec = sample.observables.spec
        readout = Readout(self.pitch, spec.cut, centre)
        for name, item in numbered.items():
            found = found_two(kept, item, self.distances, readout, generator)
            seen = separation(found, item, self.distances, self.pitch)
            estimates[f"separation/{name}"], estimates[f"efficiency/{name}"] = seen.half, seen.far
            series[f"separation/{name}"] = seen.curve
        undefined = int((~places[:, :2].isfinite().all(1)).sum())
        counts = {name: len(item) for name, item in pairs.items()}
        return Found(estimates, series, counts, centre, undefined)

    def _energy(
        self, sample: Judged, frame: Frame, weights: Tensor
    ) -> tuple[dict[str, Estimate], dict[str, Series]]:
        energy, ratio = _energies(sample), _ratios(sample, self.sampling)
        fitted = fit(energy, ratio, weights, frame.middle)
        return fitted.estimates(), dict(drawn(fitted, energy, ratio, sample.weight, frame.edges))

    def _figures(self, truth: Found, made: Found, ideal: Found) -> dict[str, Figure]:
        found = {}
        for name, item in truth.estimates.items():
            if name not in made.estimates:
                continue
            kind, what = _parts(name)
            paired = kind in ("separation", "efficiency")
            figure = difference(
                item,
                made.estimates[name],
                ideal.estimates.get(name),
                kind in RELATIVE,
                2 * min(truth.pairs[what], made.pairs[what]) if paired else None,
                self.events,
            )
            if not math.isfinite(figure.value):
                continue
            drawn_too = name in truth.series and name in made.series
            curves = {name: _curve(name, truth, made, ideal)} if drawn_too else {}
            found[name] = replace(figure, curves=curves)
        return found


def _curve(name: str, truth: Found, made: Found, ideal: Found) -> Curve:
    kind, what = _parts(name)
    text, unit = CURVES[kind]
    pair = kind == "separation"
    axis = Axis("distance", "mm", log=True) if pair else Axis(r"$E_\mathrm{inc}$", "GeV", log=True)
    further = {"ideal sampler": ideal.series[name]} if name in ideal.series else {}
    label = text.format(what.replace("to", " : "))
    return Curve(axis, label, unit, truth.series[name], made.series[name], further)


def _parts(name: str) -> tuple[str, str]:
    """What a figure is of, and which of several it is."""
    kind, *rest = re.split("[/_]", name, maxsplit=1)
    return kind, "".join(rest)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _ratio(ratio: float) -> str:
    return f"{ratio:g}to1"


def _energies(sample: Judged) -> Tensor:
    """Incident energy ``(N,)`` [GeV]."""
    if sample.sample.response is None:
        raise NotRun("reconstruction needs an incident energy")
    return sample.sample.response[0] * factor(sample.observables.spec.unit, "GeV")


def _ratios(sample: Judged, sampling: Sequence[float] | None) -> Tensor:
    """Seen over incident energy ``(N,)``."""
    assert sample.sample.response is not None
    asked, seen = sample.sample.response
    if sampling is None:
        return seen / asked
    profile = sample.sample.profiles["longitudinal"]
    if len(sampling) != profile.values.shape[1]:
        raise UserError(
            f"sampling has a weight for each of {profile.values.shape[1]} layers, got {len(sampling)}"
        )
    weights = torch.tensor(list(sampling), dtype=torch.float64)
    return profile.values @ weights * factor(profile.unit, sample.observables.spec.unit) / asked


def _frame(reference: Judged) -> Frame:
    energy = _energies(reference)
    share = reference.sample.weight / reference.sample.weight.sum()
    edges = even_edges(float(energy.min()), float(energy.max()), BINS, log=True)
    edges[-1] = float(energy.max()) * (1 + 1e-9)
    return Frame(math.exp(float((share * energy.log()).sum())), edges)


def _weights(sample: Judged, seed: int) -> Tensor:
    """Weights of the showers in the sample and in each replica ``(1 + R, N)``."""
    weight = sample.sample.weight
    return torch.cat([weight[None], poisson_weights(weight, REPLICAS, seed)])


def _in_bins(values: Tensor, energy: Tensor, weights: Tensor, edges: Tensor) -> Series:
    """Width of values in bins of energy."""
    rows = []
    for low, high in pairwise(edges.tolist()):
        inside = (energy >= low) & (energy < high) & values.isfinite()
        at = math.nan
        width = Estimate(math.nan, math.nan)
        if int(inside.sum()) >= MIN_EVENTS:
            width = estimate(widths(values[inside], weights[: 1 + FEW, inside]))
            at = float((weights[0, inside] @ energy[inside]) / weights[0, inside].sum())
        rows.append((at, width.value, width.error))
    return Series(*np.array(rows).T)


def _seen(
    sample: Judged,
    pairs: Mapping[str, Pairs],
    log_weight: float | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Deposits, dict[str, Pairs]]:
    """One pass over the showers.

    Args:
        sample: The showers.
        pairs: Those that are paired, by name.
        log_weight: Of places and directions.
        generator: Randomness of the ideal sampler; None: the showers as they are.

    Returns:
        Places and directions ``(N, 4)``, the deposits of the showers that are paired, the pairs with their
        numbers.

    Raises:
        NotRun: If the data have no deposits.
    """
    members = [part for item in pairs.values() for part in (item.first, item.second)]
    used = np.unique(np.concatenate([*members, np.zeros(1, dtype=np.int64)]))
    step = max(1, CHUNK_VALUES // sample.observables.spec.n_voxels)
    places, kept, start = [], [], 0
    for batch in chunks(sample.events, step):
        made = (
            sample.observables.deposits(batch)
            if generator is None
            else sample.observables.idealised(batch, generator)
        )
        if made is None:
            raise NotRun("reconstruction needs energies in layers of a calorimeter")
        places.append(placed(made, log_weight))
        kept.append(made.take(used[(used >= start) & (used < start + len(batch))] - start))
        start += len(batch)
    numbered = {
        name: Pairs(
            np.searchsorted(used, item.first), np.searchsorted(used, item.second), item.ratio
        )
        for name, item in pairs.items()
    }
    return torch.cat(places), Deposits.cat(kept), numbered
