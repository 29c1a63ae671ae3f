r"""Background of a signal region from control regions, with a validation region and an uncertainty.

The signal region is predicted from some regions. Once before, a validation region is predicted in the same
way, as far away from what is learnt as the signal region is; what is wrong there, the distance :math:`V` of
the prediction from the data, becomes the uncertainty of the signal region:

.. math:: U = V + 2 \sqrt{\sigma_V^2 + \sigma_S^2},

with the statistical errors of both distances. The distance :math:`S` in the signal region, which is known
here, is covered where :math:`S \le U`. Distances are :math:`W_1` in standard deviations of the truth
(:mod:`simulacra.studies.spectra`), with that of independent true events as floor. Replicas repeat a
prediction with bootstraps of the data that are learnt from and other seeds; their spread is part of the
errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.metrics.engine.columns import spread
from simulacra.plotting.points import Column, points_page
from simulacra.studies.background.regions import Extrapolation, Problem, problem
from simulacra.studies.background.templates import Template
from simulacra.studies.bench import Bench
from simulacra.studies.files import bootstrapped, together
from simulacra.studies.spectra import distances, page
from simulacra.studies.study import Study

PARTS = ("train", "val", "test")
VALIDATION, SIGNAL = "validation", "signal"


@constructor
@dataclass(frozen=True)
class Case:
    """Data with a known background in the signal region, and a source.

    Args:
        nature: Overrides of the data set of the command line.
        source: Overrides that choose the source; empty: there is none.
    """

    nature: Sequence[str]
    source: Sequence[str]


class Prediction(Study):
    """See the module's docstring.

    Args:
        cases: Data by name; where there are several, the first is compared with each of the others.
        templates: Ways to predict by name.
        validation: What is predicted in the validation region.
        signal: What is predicted in the signal region.
        observables: Names of the observables.
        replicas: Repetitions of each prediction, at least two.

    Raises:
        UserError: If there are no cases, templates or observables, or fewer than two replicas.
    """

    def __init__(
        self,
        cases: Mapping[str, Case | None],
        templates: Mapping[str, Template | None],
        validation: Extrapolation,
        signal: Extrapolation,
        observables: Sequence[str],
        replicas: Count,
    ) -> None:
        self.cases = {name: case for name, case in cases.items() if case is not None}
        self.templates = {name: item for name, item in templates.items() if item is not None}
        self.steps = {VALIDATION: validation, SIGNAL: signal}
        self.observables, self.replicas = list(observables), replicas
        if not self.cases or not self.templates or not self.observables or replicas < 2:
            raise UserError(
                "a prediction of background needs a case, a template, an observable and two replicas or more"
            )

    def run(self, bench: Bench) -> None:
        """See the base class."""
        found = {name: self._case(bench, name, case) for name, case in self.cases.items()}
        first, *others = found
        report = {
            f"apart/{other}/{template}{twin}": value
            for other in others
            for template in self.templates
            for twin, value in apart(
                found[first][template][VALIDATION], found[other][template][VALIDATION]
            ).items()
        }
        if report:
            bench.report("Cases in the validation region", report, None, APART.format(first=first))

    def _case(self, bench: Bench, name: str, case: Case) -> dict[str, dict[str, dict[str, float]]]:
        """Distances by template and region."""
        nature = sample(bench, f"{name}/nature", [*bench.data, *case.nature])
        source = sample(bench, f"{name}/source", case.source) if case.source else None
        problems = {
            region: problem(bench, f"{name}/{region}", step, nature, source)
            for region, step in self.steps.items()
        }
        floors = {
            region: self._distances(bench, f"{name}/{region}/floor", item, item.independent)
            for region, item in problems.items()
        }
        found: dict[str, dict[str, dict[str, float]]] = {}
        drawn: dict[str, list[Path]] = {}
        for template, method in self.templates.items():
            found[template] = {}
            for region, item in problems.items():
                place = f"{name}/{region}/{template}"
                several = [
                    replace(item, control=bootstrapped(bench, f"{place}/data_{k}", item.control, k))
                    for k in range(self.replicas)
                ]
                files = [
                    method.predict(bench, f"{place}/replica_{k}", one, k)
                    for k, one in enumerate(several)
                ]
                members = [
                    self._distances(bench, f"{place}/distances_{k}", item, path)
                    for k, path in enumerate(files)
                ]
                found[template][region] = central(members)
                drawn[template] = files
        self._report(bench, name, found, floors, problems[SIGNAL], drawn)
        return found

    def _distances(self, bench: Bench, stage: str, item: Problem, path: Path) -> dict[str, float]:
        files = dict.fromkeys(self.observables, path)
        found = distances(bench, stage, item.truth, files)
        return {key: value for key, value in found.items() if key.startswith("w1")}

    def _report(
        self,
        bench: Bench,
        name: str,
        found: Mapping[str, Mapping[str, Mapping[str, float]]],
        floors: Mapping[str, Mapping[str, float]],
        truth: Problem,
        drawn: Mapping[str, Sequence[Path]],
    ) -> None:
        figures: dict[str, float] = {}
        for template, regions in found.items():
            for region, item in regions.items():
                for key, value in item.items():
                    figures[f"{name}/{template}/{region}/{key}"] = value
                for key in (key for key in item if not key.endswith("/error")):
                    floor = floors[region][key]
                    figures[f"{name}/{template}/{region}/{key}/floor"] = floor
            for key, value in uncertainty(regions[VALIDATION], regions[SIGNAL]).items():
                figures[f"{name}/{template}/{key}"] = value
        axes = bench.datamodule.observables.axes()
        columns = [
            Column(
                f"{axes[observable].label}, {region}",
                {
                    template: (regions[region][key], regions[region][f"{key}/error"])
                    for template, regions in found.items()
                },
                floor=floors[region][key],
            )
            for observable in self.observables
            for region in self.steps
            for key in (f"w1/{observable}",)
        ]
        bench.report(name, figures, points_page(columns), TEXT)
        for template, files in drawn.items():
            several = [dict.fromkeys(self.observables, path) for path in dict.fromkeys(files)]
            bench.report(
                f"{name} {template}", {}, page(bench, truth.truth, several, template), SHOWN
            )


def sample(bench: Bench, place: str, overrides: Sequence[str]) -> Path:
    """All events of a data set in one file."""
    parts = [
        bench.split(f"{place}/{part}", part, {"events": 1.0}, *overrides)["events"]
        for part in PARTS
    ]
    return together(bench, f"{place}/all", parts)


def central(members: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Figures of the first member; errors are its own and the spread of all, in quadrature."""
    first = members[0]
    found = {key: value for key, value in first.items() if not key.endswith("/error")}
    for key in list(found):
        scatter = spread([item[key] for item in members])
        found[f"{key}/error"] = math.hypot(first[f"{key}/error"], scatter)
    return found


def uncertainty(validation: Mapping[str, float], signal: Mapping[str, float]) -> dict[str, float]:
    """``uncertainty/<observable>`` of the signal region, and ``used/<observable>``, the distance there over
    it, which is at most 1 where it is covered; see the module's docstring.
    """
    found = {}
    for key in (key for key in signal if not key.endswith("/error")):
        errors = (part[f"{key}/error"] for part in (validation, signal))
        whole = validation[key] + 2 * math.hypot(*errors)
        name = key.removeprefix("w1/")
        found[f"uncertainty/{name}"], found[f"used/{name}"] = whole, signal[key] / whole
    return found


def apart(first: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Difference of the mean distances, with its error and in errors."""
    value = other["w1_mean"] - first["w1_mean"]
    error = math.hypot(first["w1_mean/error"], other["w1_mean/error"])
    return {"": value, "/error": error, "/z": value / error if error else math.nan}


TEXT = (
    "W1 of the predicted observables from the truth, in its standard deviations. uncertainty: what the "
    "validation region says of the signal region, with twice the statistical errors; used: the distance in "
    "the signal region over it, at most 1 where it is covered."
)
SHOWN = "Predicted events of the signal region against the truth, with the band of the replicas."
APART = (
    "How much farther predictions of the validation region are from the truth than those of the case "
    "{first}; z: in statistical errors."
)
