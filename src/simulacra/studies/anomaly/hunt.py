"""CWoLa hunting: events of a mass window against those on either side of it, then a bump behind a cut.

Both samples hold background, whose features change little with the mass, and only the window much signal: a
classifier that tells them apart tells signal from background, without a label. Rows fall into folds by what
they hold, and those of each fold are scored by a classifier that has learnt from the others. Cuts keep the
same share of the events beside the window in each fold, and what they keep within is compared with a fit of
the mass spectrum (:mod:`simulacra.metrics.search.bump`).

Reference: Collins, Howe, Nachman, arXiv:1805.02664.

Note:
    Here a cut is a share of the events beside the window, not of all, so that a signal does not raise it, and
    classifiers are those of the other finders, of which the members are averaged, where the authors take the
    best of several networks by its validation events.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Positive
from simulacra.core.rows import folds_of, row_hashes
from simulacra.metrics.search.bump import Spectrum
from simulacra.studies.anomaly.classifiers import Classifier
from simulacra.studies.anomaly.finders import Finder, Found, scores
from simulacra.studies.anomaly.problem import Problem, masses, within
from simulacra.studies.bench import Bench, suffix_of
from simulacra.studies.files import some, together


def near(mass: Tensor, window: tuple[float, float], reach: float) -> Tensor:
    """Which masses lie beside a window, not farther than ``reach`` from it, bool ``(N,)``."""
    return within(mass, (window[0] - reach, window[1] + reach)) & ~within(mass, window)


class Hunting(Finder):
    """The score of CWoLa hunting, of events that it has not learnt from.

    Args:
        classifier: What tells the events of the window from those beside it.
        reach: How far from the window events are learnt from, in the unit of the mass.
    """

    def __init__(self, classifier: Classifier, reach: Positive) -> None:
        self.classifier, self.reach = classifier, reach

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class."""
        mass = masses(bench.datamodule.native_spec, bench.events(problem.sideband))
        chosen = near(mass, problem.bounds, self.reach)
        beside = some(bench, f"{place}/beside", problem.sideband, chosen)
        samples = problem.window, beside
        return Found(self.classifier.scored(bench, place, samples, problem.judged, seed))


@constructor
class Hunt:
    """A hunt in one window, see the module's docstring.

    Args:
        classifier: What tells the events of the window from those beside it.
        folds: Parts of the events, at least 2: each is scored by what has not learnt from it.
        reach: How far from the window events are learnt from, in the unit of the mass.
        spectrum: How the mass spectrum is fitted.
        shares: Shares of the events beside the window that cuts keep, each in (0, 1]; 1 is no cut.

    Raises:
        UserError: If there are fewer folds, no shares, or one that is none.
    """

    def __init__(
        self,
        classifier: Classifier,
        folds: Count,
        reach: Positive,
        spectrum: Spectrum,
        shares: Sequence[float],
    ) -> None:
        if folds < 2:
            raise UserError(f"cross-fitting needs two folds or more, got {folds}")
        if not shares or not all(0 < share <= 1 for share in shares):
            raise UserError(f"cuts keep shares above 0 and up to 1, got {list(shares)}")
        self.classifier, self.folds, self.reach = classifier, folds, reach
        self.spectrum, self.shares = spectrum, list(shares)

    def at(
        self, bench: Bench, place: str, searched: Path, window: tuple[float, float], seed: int
    ) -> dict[str, float]:
        """Figures of :meth:`Spectrum.bump` below ``SHARE/`` for each cut.

        Args:
            bench: The bench.
            place: Folder of the stages.
            searched: All events, with hidden labels.
            window: Its ends.
            seed: Of the trainings.
        """

        def work(folder: Path) -> dict[str, float]:
            events = bench.events(searched)
            mass, fold = masses(bench.datamodule.native_spec, events), self.fold_of(events)
            inside, beside = within(mass, window), near(mass, window, self.reach)
            figures = {}
            for number in range(self.folds):
                own = fold == number
                parts = {"inside": inside & ~own, "beside": beside & ~own, "searched": own}
                for name, chosen in parts.items():
                    if not bool(chosen.any()):
                        raise UserError(f"fold {number} of {self.folds} has no events {name}")
                    bench.write(folder / f"{name}_{number}{suffix}", events[chosen])
                    figures[f"events/{name}_{number}"] = float(chosen.sum())
            return figures

        stage, suffix = f"{place}/folds", suffix_of(bench.datamodule)
        bench.compute(stage, work, searched, self.folds, self.reach, list(window))
        before, after = [], []
        for number in range(self.folds):
            names = (f"{name}_{number}{suffix}" for name in ("inside", "beside", "searched"))
            inside, beside, own = (bench.folder(stage) / name for name in names)
            before.append(own)
            fold = f"{place}/fold_{number}"
            after.append(self.classifier.scored(bench, fold, (inside, beside), own, seed))
        files = together(bench, f"{place}/before", before), together(bench, f"{place}/after", after)
        return self.bumps(bench, f"{place}/bumps", files, window)

    def fold_of(self, events: Batch) -> Tensor:
        """Fold of each event from 0, ``(N,)``."""
        return folds_of(row_hashes(events), self.folds)

    def bumps(
        self, bench: Bench, stage: str, files: tuple[Path, Path], window: tuple[float, float]
    ) -> dict[str, float]:
        """The same for events that are scored: ``files`` are those before and after."""

        def work(folder: Path) -> dict[str, float]:
            events, score = bench.events(files[0]), scores(bench, *files)
            known = ~score.isnan()
            events, score = events[known], score[known]
            mass, fold = masses(bench.datamodule.native_spec, events), self.fold_of(events)
            beside, figures = ~within(mass, window), dict[str, float]()
            for share in self.shares:
                kept = behind(score, beside, fold, share)
                weight = None if events.weight is None else events.weight[kept]
                found = self.spectrum.bump(mass[kept], window, weight)
                figures |= {f"{share:g}/{key}": value for key, value in found.items()}
            return figures

        fit = [list(self.spectrum.ends), self.spectrum.step, self.spectrum.energy]
        return bench.compute(stage, work, *files, list(window), self.shares, fit)


def behind(score: Tensor, beside: Tensor, fold: Tensor, share: float) -> Tensor:
    """Which events a cut keeps, bool ``(N,)``.

    Args:
        score: Of the events ``(N,)``.
        beside: Which of them lie beside the window, bool ``(N,)``.
        fold: Fold of each, ``(N,)``, by whose classifiers it was scored.
        share: Share of the events beside the window that is kept in each fold; 1: all events are.
    """
    kept = torch.ones_like(beside)
    if share == 1:
        return kept
    for number in fold.unique():
        own = fold == number
        cut = score[own & beside].quantile(1 - share)
        kept[own] = score[own] > cut
    return kept
