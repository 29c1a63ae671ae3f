"""Calibration of a measured quantity by several methods, each learnt from several spectra of true values.

One table holds them all. For each method and each spectrum that it has learnt from: the closure in bins of
true values under each spectrum, the resolution, and the dependence of the closure on each feature
(:mod:`simulacra.metrics.closure`); and how far the closures of two calibrations lie apart that have learnt
from two spectra, which is what a calibration without a prior makes small. A null test calibrates measured
values that are the true ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Positive
from simulacra.metrics.closure import Binned, Closure, closure, dependence, powered
from simulacra.plotting.curves import Level, curves
from simulacra.plotting.points import Column, points_page
from simulacra.studies.bench import Bench, suffix_of
from simulacra.studies.response.calibrators import Calibrator
from simulacra.studies.study import Study
from simulacra.studies.unfolding_cases import training
from simulacra.transforms.measured import MeasuredColumns

EVENTS = "events"
"""Stage that writes all samples."""


@constructor
@dataclass(frozen=True)
class Spectra:
    """Spectra of true values.

    Args:
        powers: By name the power :math:`n` of a spectrum :math:`t^{-n}`, or None for the weights that events
            have.
        learnt: Names of those that are learnt from, the first of which is judged in all ways.

    Raises:
        UserError: If one that is learnt from is not known, or there is none.
    """

    powers: Mapping[str, float | None]
    learnt: Sequence[str]

    def __post_init__(self) -> None:
        strange = [name for name in self.learnt if name not in self.powers]
        if strange or not self.learnt:
            raise UserError(
                f"study.spectra.learnt names some of {', '.join(self.powers)}, got {list(self.learnt)}"
            )

    def weights(self, true: Tensor, own: Tensor) -> dict[str, Tensor]:
        """Weights ``(N,)`` of each spectrum, of mean 1, for true values and the weights that events have."""
        return {
            name: own / own.mean() if power is None else powered(true, power).to(own)
            for name, power in self.powers.items()
        }


@constructor
@dataclass(frozen=True)
class Bins:
    """Bins of true values.

    Args:
        number: How many there are, of equal content, at most.
        fewest: Events of each, at least.
        between: Range of true values, away from the edges of the data set; None: all.
        tolerance: Distance of a closure from 1 that is allowed where three statistical errors are smaller.
    """

    number: Count
    fewest: Count
    between: tuple[float, float] | None
    tolerance: Positive


class Calibration(Study):
    """See the module's docstring.

    Args:
        calibrators: Ways to calibrate by name.
        spectra: Spectra of true values.
        bins: Where the closure is looked at.
        measured: Column that is calibrated; None: the first one above 0 by its bounds.
        truth: Condition that is its true value; None: the first one above 0.
        features: Columns on which the response may depend; None: all others.
        null_test: Whether true values are calibrated, too.

    Raises:
        UserError: If there is nothing to calibrate with.
    """

    def __init__(
        self,
        calibrators: Mapping[str, Calibrator | None],
        spectra: Spectra,
        bins: Bins,
        measured: str | None = None,
        truth: str | None = None,
        features: Sequence[str] | None = None,
        null_test: bool = True,
    ) -> None:
        self.calibrators = {n: c for n, c in calibrators.items() if c is not None}
        if not self.calibrators:
            raise UserError("a calibration needs at least one calibrator")
        self.spectra, self.bins, self.null_test = spectra, bins, null_test
        self.measured, self.truth, self.features = measured, truth, features

    def run(self, bench: Bench) -> None:
        """See the base class."""
        spec = bench.datamodule.native_spec
        if spec.kind != "table":
            raise UserError(f"a calibration needs a table, and {spec.name} is none")
        columns = MeasuredColumns(spec, self.measured, self.truth, self.features)
        self._write(bench, columns)
        found = {
            name: {
                learnt: self._judged(bench, columns, name, learnt, calibrator)
                for learnt in self.spectra.learnt
            }
            for name, calibrator in self.calibrators.items()
        }
        self._table(bench, columns, found)
        for name, calibrator in self.calibrators.items():
            self._details(bench, columns, name, calibrator, found[name])
        if self.null_test:
            self._null(bench, columns)

    def _write(self, bench: Bench, columns: MeasuredColumns) -> None:
        """Files of the events that are learnt from, weighted to each spectrum, of those that are judged, and
        of both with their true values as measured ones.
        """

        def work(folder: Path) -> dict[str, float]:
            parts = {"learnt": training(bench), "judged": bench.events("test")}
            events = parts["learnt"]
            true = events.cond[columns.truth][:, 0]
            for name, weight in self.spectra.weights(true, events.weight_or_one()).items():
                if name in self.spectra.learnt:
                    file = folder / self._file(bench, f"learnt_{name}")
                    bench.write(file, replace(events, weight=weight))
            bench.write(folder / self._file(bench, "judged"), parts["judged"])
            first = self.spectra.weights(true, events.weight_or_one())[self.spectra.learnt[0]]
            perfect = replace(measured_truly(columns, events), weight=first)
            bench.write(folder / self._file(bench, "null_learnt"), perfect)
            judged = measured_truly(columns, parts["judged"])
            bench.write(folder / self._file(bench, "null_judged"), judged)
            return {f"events/{name}": float(len(batch)) for name, batch in parts.items()}

        asked = dict(self.spectra.powers), list(self.spectra.learnt)
        bench.compute(EVENTS, work, *asked, columns.measured, columns.truth, bench.origin())

    def _file(self, bench: Bench, name: str) -> str:
        return f"{name}{suffix_of(bench.datamodule)}"

    def _path(self, bench: Bench, name: str) -> Path:
        return bench.folder(EVENTS) / self._file(bench, name)

    def _judged(
        self,
        bench: Bench,
        columns: MeasuredColumns,
        name: str,
        learnt: str,
        calibrator: Calibrator,
    ) -> Path:
        """The judged events, calibrated by what was learnt from a spectrum."""
        sample = self._path(bench, f"learnt_{learnt}")
        judged = self._path(bench, "judged")
        return calibrator.calibrate(bench, f"{name}/{learnt}", sample, judged, columns)

    def _ratio(self, bench: Bench, columns: MeasuredColumns, path: Path) -> tuple[Tensor, Batch]:
        """Calibrated over true values ``(N,)``, and the events."""
        batch = bench.events(path)
        true = batch.cond[columns.truth][:, 0].double()
        return batch.x[:, columns.place].double() / true, batch

    def _closures(
        self, bench: Bench, columns: MeasuredColumns, path: Path, calibrator: Calibrator
    ) -> dict[str, Closure]:
        """Closure of calibrated events under each spectrum."""
        ratio, batch = self._ratio(bench, columns, path)
        true = batch.cond[columns.truth][:, 0]
        binned = self._binned(true)
        weights = self.spectra.weights(true, batch.weight_or_one())
        return {
            spectrum: closure(ratio, weight, binned, bench.seed, calibrator.share)
            for spectrum, weight in weights.items()
        }

    def _binned(self, true: Tensor) -> Binned:
        return Binned.of(true, self.bins.number, self.bins.fewest, self.bins.between)

    def _figures(
        self,
        bench: Bench,
        columns: MeasuredColumns,
        name: str,
        calibrator: Calibrator,
        found: Mapping[str, Path],
    ) -> dict[str, float]:
        """Everything that is measured of a method, as a stage."""

        def work(folder: Path) -> dict[str, float]:
            figures: dict[str, float] = {}
            whole = {
                learnt: self._closures(bench, columns, path, calibrator)
                for learnt, path in found.items()
            }
            for learnt, judged in whole.items():
                for spectrum, item in judged.items():
                    figures |= self._of_closure(f"{learnt}/{spectrum}", item)
            first = self.spectra.learnt[0]
            for one, two in combinations(found, 2):
                figures |= apart(f"apart/{one}/{two}", whole[one][first], whole[two][first])
            ratio, batch = self._ratio(bench, columns, found[first])
            binned = self._binned(batch.cond[columns.truth][:, 0])
            squares, floors = [], []
            for feature, place in zip(columns.features.names, columns.columns, strict=True):
                left = dependence(ratio, batch.x[:, place], binned, bench.seed)
                figures |= twins(f"dependence/{feature}", left)
                squares.append((left["value"] ** 2, 2 * left["value"] * left["error"]))
                floors.append(left["floor"] ** 2)
            if squares:
                mean = (sum(s for s, _ in squares) / len(squares)) ** 0.5
                error = sum(e**2 for _, e in squares) ** 0.5 / len(squares) / (2 * mean or 1.0)
                floor = (sum(floors) / len(floors)) ** 0.5
                figures |= twins("dependence", {"value": mean, "error": error, "floor": floor})
            return figures

        inputs = repr((self.spectra, self.bins)), calibrator.share, bench.seed
        return bench.compute(f"{name}/figures", work, *found.values(), *inputs)

    def _of_closure(self, prefix: str, item: Closure) -> dict[str, float]:
        """Figures of one closure: the farthest bin and all of them."""
        k = item.farthest
        figures = twins(
            f"{prefix}/closure",
            {
                "value": float((item.centre[0, k] - 1).abs()),
                "error": float(item.error[k]),
                "floor": item.floor,
            },
        )
        figures[f"{prefix}/excess"] = item.excess(self.bins.tolerance)
        figures[f"{prefix}/resolution"] = float(item.resolution[0].mean())
        figures[f"{prefix}/resolution/error"] = float(item.resolution[1:].mean(1).std())
        for k in range(item.centre.shape[1]):
            figures[f"{prefix}/bin_{k}"] = float(item.centre[0, k])
            figures[f"{prefix}/bin_{k}/error"] = float(item.error[k])
        return figures

    def _table(
        self,
        bench: Bench,
        columns: MeasuredColumns,
        found: Mapping[str, Mapping[str, Path]],
    ) -> None:
        """All methods side by side."""
        first = self.spectra.learnt[0]
        figures = {
            name: self._figures(bench, columns, name, self.calibrators[name], paths)
            for name, paths in found.items()
        }
        keys = {f"{first}/{first}/closure": "largest non-closure"}
        if len(self.spectra.learnt) > 1:
            second = self.spectra.learnt[1]
            keys[f"apart/{first}/{second}"] = f"{first} less {second}"
        if columns.features.names:
            keys["dependence"] = "dependence on features"
        keys[f"{first}/{first}/resolution"] = "resolution"
        report = {
            f"{name}/{key}{twin}": item[key + twin]
            for name, item in figures.items()
            for key in keys
            for twin in ("", "/error", "/floor")
            if key + twin in item
        }
        floors = next(iter(figures.values()))
        shown = [
            Column(
                label,
                {
                    name: (item[key], item.get(f"{key}/error", 0.0))
                    for name, item in figures.items()
                },
                floor=floors.get(f"{key}/floor"),
            )
            for key, label in keys.items()
        ]
        bench.report("All methods", report, points_page(shown), TABLE)

    def _details(
        self,
        bench: Bench,
        columns: MeasuredColumns,
        name: str,
        calibrator: Calibrator,
        found: Mapping[str, Path],
    ) -> None:
        """What there is to say of one method."""
        figures = bench.figures(f"{name}/figures")
        edges = self._binned(
            bench.events(self._path(bench, "judged")).cond[columns.truth][:, 0]
        ).edges
        middles = [float(f"{float(x):.3g}") for x in (edges[1:] + edges[:-1]) / 2]
        spectrum = self.spectra.learnt[0]
        lines = {
            f"learnt from {learnt}": {
                middle: [
                    Level(figures[f"{key}/bin_{k}"], figures[f"{key}/bin_{k}/error"]),
                ]
                for k, middle in enumerate(middles)
            }
            for learnt in found
            for key in (f"{learnt}/{spectrum}",)
        }
        field = bench.datamodule.native_spec.field(columns.truth)
        image = curves(lines, ["closure"], [1.0], f"{field.name} [{field.unit}]")
        shown = {f"{name}/{key}": value for key, value in figures.items() if "bin_" not in key}
        known = {key for section in bench.sections for key in section.figures}
        own = {key: value for key, value in shown.items() if key not in known}
        bench.report(name, own, image, DETAILS)

    def _null(self, bench: Bench, columns: MeasuredColumns) -> None:
        """Calibrate true values."""
        figures: dict[str, float] = {}
        sample, judged = (self._path(bench, f"null_{name}") for name in ("learnt", "judged"))
        for name, calibrator in self.calibrators.items():
            path = calibrator.calibrate(bench, f"null/{name}", sample, judged, columns)

            def work(folder: Path, path: Path = path) -> dict[str, float]:
                ratio, batch = self._ratio(bench, columns, path)
                binned = self._binned(batch.cond[columns.truth][:, 0])
                item = closure(ratio, torch.ones_like(ratio), binned, bench.seed)
                k = item.farthest
                value = {
                    "value": float((item.centre[0, k] - 1).abs()),
                    "error": float(item.error[k]),
                }
                return twins("closure", {**value, "floor": item.floor})

            inputs = repr((self.spectra, self.bins)), bench.seed
            own = bench.compute(f"null/{name}_figures", work, path, *inputs)
            figures |= {f"null/{name}/{key}": value for key, value in own.items()}
        bench.report("Null test", figures, None, NULL)


def measured_truly(columns: MeasuredColumns, events: Batch) -> Batch:
    """Events whose measured value is the true one: a response of 1."""
    x = events.x.clone()
    x[:, columns.place] = events.cond[columns.truth][:, 0].to(x)
    return replace(events, x=x)


def apart(key: str, one: Closure, two: Closure) -> dict[str, float]:
    """Largest difference of two closures of the same events, with its error."""
    difference = one.centre - two.centre
    k = int(difference[0].abs().argmax())
    return {key: float(difference[0, k].abs()), f"{key}/error": float(difference[1:, k].std())}


def twins(key: str, found: Mapping[str, float]) -> dict[str, float]:
    """A figure with its error and its floor."""
    return {key if name == "value" else f"{key}/{name}": value for name, value in found.items()}


TABLE = (
    "Non-closure: the largest distance from 1 of the mean of calibrated over true values in a bin, learnt "
    "from and judged under the first spectrum; its floor is what chance gives. The closures of calibrations "
    "that were learnt from two spectra lie apart where the calibration depends on the spectrum. Dependence: "
    "root mean square over bins and thirds of each feature of the closure that is left; its floor is that of "
    "shuffled features."
)
DETAILS = (
    "The closure in bins of true values; excess: the largest distance from 1 over what is allowed, the "
    "larger of the tolerance and three statistical errors."
)
NULL = "Measured values that are the true ones: what is left is what the calibration itself gets wrong."
