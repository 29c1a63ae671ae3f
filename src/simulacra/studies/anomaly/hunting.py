"""CWoLa hunting of a resonance: p-values of bumps behind harder and harder cuts, over a scan of mass windows.

Signal is injected around one window (:mod:`simulacra.studies.anomaly.problem`), and the events of each window
of a scan are hunted (:mod:`simulacra.studies.anomaly.hunt`) with all labels hidden. Beside it stands what
classifiers find that were told the labels of other events, by the same cuts and fits. Pseudo-experiments
without signal say whether p-values are those of chance. Replicas inject other signal events and train with
other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from scipy.stats import kstest

from simulacra.core import UserError
from simulacra.core.ranges import Count, Whole
from simulacra.plotting.curves import Level, curves
from simulacra.studies.anomaly.finders import Finder
from simulacra.studies.anomaly.hunt import Hunt
from simulacra.studies.anomaly.problem import (
    Problem,
    is_signal,
    masses,
    nothing,
    search,
    within,
)
from simulacra.studies.anomaly.search import PROBLEM
from simulacra.studies.bands import repeated
from simulacra.studies.bench import Bench
from simulacra.studies.files import some, together
from simulacra.studies.study import Study

Window = tuple[float, float]
SIZE = "significance"
TWINS = {"error": 1.0, "floor": 0.0}


class CwolaHunting(Study):
    """See the module's docstring.

    Args:
        window: Ends of the window where signal is injected [unit of the mass], the lower one belongs to it.
        signal: Signal events that are injected within it; 0: the null test.
        scan: Windows that are hunted, ``window`` among them.
        hunt: What is done in each.
        reference: A finder that is told the labels of the test part, or None.
        replicas: Repetitions with other signal events and seeds.
        experiments: Pseudo-experiments without signal, 0 or at least 2.

    Raises:
        UserError: If the window is empty or not hunted, or there is one pseudo-experiment.
    """

    def __init__(
        self,
        window: Sequence[float],
        signal: Whole,
        scan: Sequence[Sequence[float]],
        hunt: Hunt,
        reference: Finder | None,
        replicas: Count,
        experiments: Whole,
    ) -> None:
        pairs = [tuple(item) for item in (window, *scan)]
        if not all(len(pair) == 2 and pair[0] < pair[1] for pair in pairs):
            raise UserError(f"mass windows go from a lower to a higher end, got {pairs}")
        if pairs[0] not in pairs[1:]:
            raise UserError(
                f"the window where signal is injected is one of the scan: got {list(window)}, and "
                f"{', '.join(map(str, scan))}"
            )
        if experiments == 1:
            raise UserError("p-values are compared of two experiments or more, or of none")
        self.window, self.signal = (window[0], window[1]), signal
        self.scan = [(pair[0], pair[1]) for pair in pairs[1:]]
        self.hunt, self.reference = hunt, reference
        self.replicas, self.experiments = replicas, experiments

    def run(self, bench: Bench) -> None:
        """See the base class."""
        members = [self._replica(bench, k) for k in range(self.replicas)]
        found = repeated(members)
        counts = bench.figures("replica_0/problem/files")
        figures = {f"problem/{key}": value for key, value in counts.items()}
        bench.report("Problem", figures, None, PROBLEM)
        own = {key: value for key, value in found.items() if not key.startswith("scan/")}
        bench.report("Window", own, None, WINDOW)
        scanned = {key: value for key, value in found.items() if key.startswith("scan/")}
        unit = bench.datamodule.native_spec.by_role("mass").unit
        bench.report("Scan", scanned, self._figure(scanned, unit), SCAN)
        if self.experiments:
            bench.report("Null test", self._nothing(bench), None, NULL)

    def _replica(self, bench: Bench, number: int) -> dict[str, float]:
        """Figures of one replica."""
        place, seed = f"replica_{number}", bench.seed + 100 * number
        problem = search(bench, f"{place}/problem", self.window, self.signal, seed)
        searched = joined(bench, f"{place}/searched", problem)
        figures: dict[str, float] = {}
        for k, window in enumerate(self.scan):
            found = self.hunt.at(bench, f"{place}/window_{k}", searched, window, seed)
            figures |= self._values(f"scan/{name_of(window)}", found)
            if window == self.window:
                figures |= details("hunted", found)
        if self.reference is not None:
            figures |= details("supervised", self._told(bench, place, problem, searched, seed))
        return figures

    def _told(
        self, bench: Bench, place: str, problem: Problem, searched: Path, seed: int
    ) -> dict[str, float]:
        """The same cuts by classifiers that were told the labels of the test part."""
        spec, events = bench.datamodule.native_spec, bench.events(problem.judged)
        signal, inside = is_signal(spec, events), within(masses(spec, events), self.window)
        other = replace(
            problem,
            judged=searched,
            signal=some(bench, f"{place}/signal", problem.judged, signal & inside),
            background=some(bench, f"{place}/background", problem.judged, ~signal & inside),
        )
        assert self.reference is not None
        found = self.reference.find(bench, other, f"{place}/supervised", seed)
        files = searched, found.scored
        return self.hunt.bumps(bench, f"{place}/supervised/bumps", files, self.window)

    def _nothing(self, bench: Bench) -> dict[str, float]:
        """P-values of pseudo-experiments without signal, and whether they are uniform."""
        found = []
        for k in range(self.experiments):
            place, seed = f"null/{k}", bench.seed + k
            problem = nothing(bench, place, self.window, seed)
            searched = joined(bench, f"{place}/searched", problem)
            found.append(self.hunt.at(bench, f"{place}/hunt", searched, self.window, seed))
        figures: dict[str, float] = {}
        for share in map("{:g}".format, self.hunt.shares):
            values = [item[f"{share}/p"] for item in found]
            z = torch.tensor([item[f"{share}/{SIZE}"] for item in found]).double()
            figures |= {f"null/{share}/p/{k}": value for k, value in enumerate(values)}
            figures |= {
                f"null/{share}/ks": float(kstest(values, "uniform").pvalue),
                f"null/{share}/{SIZE}": float(z.mean()),
                f"null/{share}/{SIZE}/error": float(z.std()) / len(z) ** 0.5,
                f"null/{share}/{SIZE}/floor": 0.0,
                f"null/{share}/spread": float(z.std()),
            }
        return figures

    def _values(self, name: str, found: Mapping[str, float]) -> dict[str, float]:
        """P-value and significance of each cut."""
        figures: dict[str, float] = {}
        for share in map("{:g}".format, self.hunt.shares):
            figures |= {f"{name}/{share}/{key}": found[f"{share}/{key}"] for key in ("p", SIZE)}
        return with_twins(figures)

    def _figure(self, scanned: Mapping[str, float], unit: str) -> Figure:
        """P-values over the middle of the windows, a line for each cut."""
        lines: dict[str, dict[float, list[Level | None]]] = {}
        for share in map("{:g}".format, self.hunt.shares):
            lines["no cut" if share == "1" else f"{share} beside are kept"] = {
                sum(window) / 2: [Level(scanned[f"scan/{name_of(window)}/{share}/p"], None)]
                for window in self.scan
            }
        over = f"middle of the window [{unit}]"
        return curves(lines, ["p-value"], [None], over, log=True)


def joined(bench: Bench, stage: str, problem: Problem) -> Path:
    """All events that are searched, with hidden labels."""
    return together(bench, stage, [problem.window, problem.sideband])


def name_of(window: Window) -> str:
    """A window in the key of a figure."""
    return f"{window[0]:g}_{window[1]:g}"


def details(name: str, found: Mapping[str, float]) -> dict[str, float]:
    """Figures of one window below a name."""
    return with_twins({f"{name}/{key}": value for key, value in found.items()})


def with_twins(figures: Mapping[str, float]) -> dict[str, float]:
    """The same with the error of each significance, 1 by its definition, and what it is without signal."""
    names = [key for key in figures if key.endswith(f"/{SIZE}")]
    twins = {f"{key}/{twin}": value for key in names for twin, value in TWINS.items()}
    return {**figures, **twins}


WINDOW = (
    "Events behind cuts in the window where signal is injected, named by the share of the events beside it "
    "that is kept: what is found and expected by a fit of the mass spectrum, and the significance of the "
    "excess. supervised: the same cuts by classifiers that were told the labels of other events."
)
SCAN = "P-values and significances in other windows, which hold little or none of the signal."
NULL = (
    "Pseudo-experiments without signal, on random halves of all background events. They overlap, and most "
    "without a cut (1), where all of them share one fluctuation and spread less than they should. ks is the "
    "p-value of uniform p-values."
)
