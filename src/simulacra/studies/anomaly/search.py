"""Search for a resonance by several methods, with what each gains over no cut, and what labels would gain.

A window in the mass of both jets is searched; signal is injected there
(:mod:`simulacra.studies.anomaly.problem`). Methods never see a label, but for the supervised reference, and
score events that they have not learnt from. For each there are the largest significance improvement
(:mod:`simulacra.metrics.search.significance`), over that of the reference, too, the area under the ROC curve,
and how far a cut shapes the mass spectrum of the background (:mod:`simulacra.metrics.search.sculpting`).
Replicas inject other signal events and train with other seeds; their spread is part of each error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.ranges import Count, Share, Whole
from simulacra.metrics.search.sculpting import sculpting
from simulacra.metrics.search.significance import significance
from simulacra.plotting.curves import Level, curves
from simulacra.studies.anomaly.control import Control
from simulacra.studies.anomaly.finders import Finder, Found, scores
from simulacra.studies.anomaly.problem import Problem, is_signal, masses, search, within
from simulacra.studies.bands import quotient, repeated
from simulacra.studies.bench import Bench
from simulacra.studies.study import Study

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the background at which curves are drawn."""
BEST, CURVE = "max_sic", "curve/"


class Anomaly(Study):
    """See the module's docstring.

    Args:
        window: Ends of the mass window [unit of the mass], the lower one belongs to it.
        signal: Signal events that are injected within the window; 0: the null test.
        finders: Methods by name.
        reference: Name of the method that is told the labels, or None.
        replicas: Repetitions with other signal events and seeds.
        least: Background events that a cut keeps, at least, where the largest improvement is looked for.
        share: Share of the background that a cut keeps where its mass spectrum is looked at, in (0, 1).
        control: Pseudo-experiments without signal, or None.

    Raises:
        UserError: If the window is empty, there is no method, or the reference is none of them.
    """

    def __init__(
        self,
        window: Sequence[float],
        signal: Whole,
        finders: Mapping[str, Finder | None],
        reference: str | None,
        replicas: Count,
        least: Count,
        share: Share,
        control: Control | None,
    ) -> None:
        if len(window) != 2 or not window[0] < window[1]:
            raise UserError(f"a mass window goes from a lower to a higher end, got {list(window)}")
        self.window, self.signal, self.control = (window[0], window[1]), signal, control
        self.finders = {name: item for name, item in finders.items() if item is not None}
        if not self.finders or (reference is not None and reference not in self.finders):
            raise UserError(
                "a search needs methods, and the reference among them: got "
                f"{', '.join(self.finders) or 'none'} and {reference}"
            )
        self.reference, self.replicas = reference, replicas
        self.least, self.share = least, share

    def run(self, bench: Bench) -> None:
        """See the base class."""
        members = [self._replica(bench, k) for k in range(self.replicas)]
        found = {name: repeated([item[name] for item in members]) for name in self.finders}
        counts = bench.figures("replica_0/problem/files")
        figures = {f"problem/{key}": value for key, value in counts.items()}
        bench.report("Problem", figures, None, PROBLEM)
        self._table(bench, found)
        for name, item in found.items():
            own = {k: v for k, v in item.items() if not k.startswith((BEST, CURVE))}
            bench.report(name, {f"{name}/{k}": v for k, v in own.items()}, None, DETAILS)
        if self.control is not None:
            control = self.control.figures(bench, "null", self.window)
            bench.report("Null test", {f"null/{k}": v for k, v in control.items()}, None, NULL)

    def _replica(self, bench: Bench, number: int) -> dict[str, dict[str, float]]:
        """Figures of all methods in one replica."""
        place, seed = f"replica_{number}", bench.seed + 100 * number
        problem = search(bench, f"{place}/problem", self.window, self.signal, seed)
        figures = {}
        for name, finder in self.finders.items():
            found = finder.find(bench, problem, f"{place}/{name}", seed)
            judged = self._judged(bench, problem, found, f"{place}/{name}/judged")
            figures[name] = {**judged, **found.figures}
        return figures

    def _judged(self, bench: Bench, problem: Problem, found: Found, stage: str) -> dict[str, float]:
        """What a method gains on events that it has not learnt from."""

        def work(folder: Path) -> dict[str, float]:
            spec, events = bench.datamodule.native_spec, bench.events(problem.judged)
            score = scores(bench, problem.judged, found.scored)
            known = ~score.isnan()
            events, score = events[known], score[known]
            signal, mass = is_signal(spec, events), masses(spec, events)
            inside, weight = within(mass, problem.bounds), events.weight_or_one()
            curve = significance(score[inside], signal[inside], weight[inside])
            figures = curve.figures(self.least)
            for share in SHARES:
                k = curve.at(share)
                if int(curve.events[k]) >= self.least:
                    figures[f"{CURVE}{share:g}"] = float(curve.sic[k])
                    figures[f"{CURVE}{share:g}/error"] = float(curve.error[k])
            other = ~signal
            return figures | sculpting(mass[other], score[other], self.share, weight[other])

        inputs = [self.least, self.share, list(self.window)]
        return bench.compute(stage, work, problem.judged, found.scored, *inputs)

    def _table(self, bench: Bench, found: Mapping[str, Mapping[str, float]]) -> None:
        """All methods side by side."""
        report: dict[str, float] = {}
        for name, figures in found.items():
            report |= {f"{name}/{k}": v for k, v in figures.items() if k.startswith(BEST)}
            if self.reference is not None and name != self.reference:
                known = found[self.reference]
                report |= gained(f"{name}/over_{self.reference}", figures, known)
        lines = {name: line(figures) for name, figures in found.items()}
        over = "share of the background that is kept"
        bench.report(
            "All methods",
            report,
            curves(lines, ["significance improvement"], [None], over),
            METHODS,
        )


def line(figures: Mapping[str, float]) -> dict[float, list[Level | None]]:
    """The curve of a method by the share of the background."""
    keys = {share: f"{CURVE}{share:g}" for share in SHARES}
    return {
        share: [Level(figures[key], figures[f"{key}/error"])]
        for share, key in keys.items()
        if key in figures
    }


def gained(name: str, above: Mapping[str, float], below: Mapping[str, float]) -> dict[str, float]:
    """The quotient of two largest improvements, with its error."""
    value, error = quotient(*((item[BEST], item[f"{BEST}/error"]) for item in (above, below)))
    return {name: value, f"{name}/error": error}


PROBLEM = (
    "Events that are searched, with hidden labels, and what was injected into the window; significance: "
    "signal over the root of the background within the window."
)
METHODS = (
    "Largest factor on signal over root of background, at enough background events, on events that nothing "
    "was learnt from; a method that finds nothing has 1. The reference was told the labels."
)
DETAILS = (
    "auc: of signal and background within the window. sculpting: distance of the mass spectrum of the "
    "background that a cut keeps from that of all of it; its floor is that of a cut by chance. sideband/auc "
    "and window/auc: how far boosted trees tell drawn background from true one beside the window and within."
)
NULL = (
    "Pseudo-experiments without signal, on random halves of all background events, which overlap: p-values "
    "are uniform where the background is understood, and ks is the p-value of that."
)
