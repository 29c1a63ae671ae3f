"""Unfolding: particle level of measured events by several methods, with their distances from a known truth.

One table holds them all: for each observable the distance of the unfolded spectrum from the truth (see
:mod:`simulacra.studies.spectra`), before unfolding and after, with the distance of independent true events as
floor. A null test unfolds data that are like the simulation, where there is nothing to be found. Replicas
repeat a method on bootstraps of the data, with other seeds or posterior draws; their spread is the error and
the band of the figures, and without replicas the error is that of the events alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulacra.core import UserError
from simulacra.core.ranges import Count
from simulacra.plotting.points import Column, points_page
from simulacra.studies.bands import around, quotient
from simulacra.studies.bench import Bench
from simulacra.studies.posteriors import covered
from simulacra.studies.spectra import distances, page
from simulacra.studies.study import Study
from simulacra.studies.unfolding_cases import Case, Problem
from simulacra.studies.unfolding_methods import Method, Unfolded

MEAN = "w1_mean"


class Unfolding(Study):
    """See the module's docstring.

    Args:
        case: What is measured and what is simulated.
        methods: Ways to unfold by name.
        observables: Names of the observables at particle level that are compared.
        replicas: Repetitions of each method.
        control: The case of the null test; None: there is none.

    Raises:
        UserError: If there are no methods or observables.
    """

    def __init__(
        self,
        case: Case,
        methods: Mapping[str, Method | None],
        observables: Sequence[str],
        replicas: Count,
        control: Case | None,
    ) -> None:
        self.case, self.control, self.replicas = case, control, replicas
        self.methods = {name: method for name, method in methods.items() if method is not None}
        self.observables = list(observables)
        if not self.methods or not self.observables:
            raise UserError("unfolding needs at least one method and one observable")

    def run(self, bench: Bench) -> None:
        """See the base class."""
        problem = self.case.problem(bench, "problem")
        problems = [
            problem.bootstrapped(bench, "bootstraps", replica) for replica in range(self.replicas)
        ]
        before, floor = self._ends(bench, problem, "problem/distances")
        bench.report(
            "Before unfolding",
            {f"before/{key}": value for key, value in joined(before, floor).items()},
            text="The simulation against the truth, in standard deviations of the truth.",
        )
        found = {
            name: self._method(bench, problems, name, method, floor)
            for name, method in self.methods.items()
        }
        self._table(bench, {name: figures for name, (figures, _) in found.items()}, before, floor)
        for name, (figures, results) in found.items():
            self._details(bench, problem, name, figures, results)
        if self.control is not None:
            self._null(bench, self.control)

    def _method(
        self,
        bench: Bench,
        problems: Sequence[Problem],
        name: str,
        method: Method,
        floor: Mapping[str, float],
    ) -> tuple[dict[str, float], list[Unfolded]]:
        """Unfold by one method: figures of the problem itself with the spread of all replicas as error, where
        there are several, and all results.
        """
        results = method.unfold(bench, problems, name, self.observables)
        found = [
            self._far(bench, problems[0], item, f"{name}/distances_{k}")
            for k, item in enumerate(results)
        ]
        return joined(around(found), floor), results

    def _table(
        self,
        bench: Bench,
        found: Mapping[str, Mapping[str, float]],
        before: Mapping[str, float],
        floor: Mapping[str, float],
    ) -> None:
        """All methods side by side."""
        report: dict[str, float] = {}
        for name, figures in found.items():
            report |= {
                f"{name}/{key}": figures[key] for key in (MEAN, f"{MEAN}/error", f"{MEAN}/floor")
            }
            report[f"{name}/gain"], report[f"{name}/gain/error"] = quotient(
                (before[MEAN], before[f"{MEAN}/error"]), (figures[MEAN], figures[f"{MEAN}/error"])
            )
        axes = bench.datamodule.observables.axes()
        columns = [
            Column(
                axes[name].label,
                {m: (item[f"w1/{name}"], item[f"w1/{name}/error"]) for m, item in found.items()},
                before[f"w1/{name}"],
                floor[f"w1/{name}"],
            )
            for name in self.observables
        ]
        bench.report(
            "All methods",
            report,
            points_page(columns),
            "Mean distance of the unfolded observables from the truth, in its standard deviations; gain: by "
            "what factor it has become smaller. Floor: the distance of independent true events; methods "
            "that keep the measured events may fall below it.",
        )

    def _details(
        self,
        bench: Bench,
        problem: Problem,
        name: str,
        figures: Mapping[str, float],
        results: Sequence[Unfolded],
    ) -> None:
        """What there is to say of one method."""
        own = {key: value for key, value in figures.items() if not key.startswith(MEAN)}
        report = {f"{name}/{key}": value for key, value in {**own, **results[0].figures}.items()}
        report |= self._course(bench, problem, results[0], name)
        image = page(bench, problem.truth, [item.files(self.observables) for item in results], name)
        bench.report(name, report, image, "Unfolded events against the truth.")

    def _course(
        self, bench: Bench, problem: Problem, result: Unfolded, name: str
    ) -> dict[str, float]:
        """Mean distances after each iteration."""
        found = {}
        for n, path in enumerate(result.course if len(result.course) > 1 else (), 1):
            files = dict.fromkeys(self.observables, path)
            far = distances(bench, f"{name}/course/{n}", problem.truth, files)
            found[f"{name}/iteration_{n}/{MEAN}"] = far[MEAN]
            found[f"{name}/iteration_{n}/{MEAN}/error"] = far[f"{MEAN}/error"]
        return found

    def _null(self, bench: Bench, case: Case) -> None:
        """Unfold where there is nothing to be found."""
        problem = case.problem(bench, "null/problem")
        before, floor = self._ends(bench, problem, "null/problem/distances")
        figures = {
            f"null/before/{MEAN}": before[MEAN],
            f"null/before/{MEAN}/error": before[f"{MEAN}/error"],
        }
        for name, method in self.methods.items():
            (result,) = method.unfold(bench, [problem], f"null/{name}", self.observables)
            far = self._far(bench, problem, result, f"null/{name}/distances")
            kept = {key: far[key] for key in (MEAN, f"{MEAN}/error")}
            found = joined(kept, {MEAN: floor[MEAN]}) | dict(result.figures)
            if result.unfolder is not None:
                found |= covered(
                    bench, f"null/{name}/posterior", result.unfolder, problem, self.observables
                )
            figures |= {f"null/{name}/{key}": value for key, value in found.items()}
        bench.report(
            "Null test",
            figures,
            text="Data that are like the simulation: distances stay at their floor, weights near 1, and "
            "posteriors cover the truth as often as they say.",
        )

    def _ends(
        self, bench: Bench, problem: Problem, stage: str
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Distances of the simulation and of independent true events."""
        return (
            distances(
                bench,
                f"{stage}/before",
                problem.truth,
                dict.fromkeys(self.observables, problem.simulation),
            ),
            distances(
                bench,
                f"{stage}/floor",
                problem.truth,
                dict.fromkeys(self.observables, problem.independent),
            ),
        )

    def _far(
        self, bench: Bench, problem: Problem, result: Unfolded, stage: str
    ) -> dict[str, float]:
        return distances(bench, stage, problem.truth, result.files(self.observables))


def joined(figures: Mapping[str, float], floor: Mapping[str, float]) -> dict[str, float]:
    """Figures, distances with their floors as ``…/floor``."""
    distant = [key for key in floor if key.startswith("w1") and not key.endswith("/error")]
    return {**figures, **{f"{key}/floor": floor[key] for key in distant}}
