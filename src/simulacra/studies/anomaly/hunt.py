"""CWoLa hunting: events of a mass window against those on either side of it, then a bump behind a cut.

Both samples hold background, whose features change little with the mass, and only the window much signal: a
classifier that tells them apart tells signal from background, without a label. Each event is scored by
classifiers that have not learnt from it. Cuts keep the same share of the events beside the window in each
fold, and what they keep within is compared with a fit of the mass spectrum
(:mod:`simulacra.metrics.search.bump`).

Reference: Collins, Howe, Nachman, arXiv:1805.02664.

Note:
    Here a cut is a share of the events beside the window, not of all, so that a signal does not raise it. Of
    each fold the trainings are averaged, where the authors take the best of several by its validation events.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.pair import LABEL
from simulacra.core.ranges import Positive
from simulacra.core.rows import folds_of, row_hashes
from simulacra.metrics.search.bump import Spectrum
from simulacra.studies.anomaly.finders import Finder, Found, features, scores
from simulacra.studies.anomaly.problem import Problem, masses, within
from simulacra.studies.bench import Bench
from simulacra.studies.files import some
from simulacra.studies.ratio import Ratio


@constructor
class Sides:
    """Classifiers of the events within a window and of those close to it, cross-fitted.

    Args:
        ratio: The classifiers.
        reach: How far from the window events are learnt from, in the unit of the mass.
    """

    def __init__(self, ratio: Ratio, reach: Positive) -> None:
        self.ratio, self.reach = ratio, reach

    def learnt(
        self,
        bench: Bench,
        place: str,
        samples: tuple[Path, Path],
        window: tuple[float, float],
        seed: int,
    ) -> Path:
        """What scores events: it stands where a checkpoint does.

        Args:
            bench: The bench.
            place: Folder of the stages.
            samples: Files with hidden labels: one that holds the events within the window, and one those
                beside it; they may be the same.
            window: Its ends.
            seed: Of the trainings.
        """
        spec = bench.datamodule.native_spec
        inside, beside = (masses(spec, bench.events(path)) for path in samples)
        wide = window[0] - self.reach, window[1] + self.reach
        near = within(beside, wide) & ~within(beside, window)
        files = (
            some(bench, f"{place}/inside", samples[0], within(inside, window)),
            some(bench, f"{place}/beside", samples[1], near),
        )
        replica = seed - bench.seed
        return self.ratio.between(bench, f"{place}/classifiers", files, features(bench), replica)


class Hunting(Finder):
    """The score of CWoLa hunting, of events that none of its classifiers has seen.

    Args:
        sides: The classifiers.
    """

    def __init__(self, sides: Sides) -> None:
        self.sides = sides

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class."""
        samples = problem.window, problem.sideband
        learnt = self.sides.learnt(bench, f"{place}/learnt", samples, problem.bounds, seed)
        return Found(bench.apply(f"{place}/scored", learnt, problem.judged))


@constructor
class Hunt:
    """A hunt in one window, see the module's docstring.

    Args:
        sides: The classifiers.
        spectrum: How the mass spectrum is fitted.
        shares: Shares of the events beside the window that cuts keep, each in (0, 1]; 1 is no cut.

    Raises:
        UserError: If there are none, or one is none.
    """

    def __init__(self, sides: Sides, spectrum: Spectrum, shares: Sequence[float]) -> None:
        if not shares or not all(0 < share <= 1 for share in shares):
            raise UserError(f"cuts keep shares above 0 and up to 1, got {list(shares)}")
        self.sides, self.spectrum, self.shares = sides, spectrum, list(shares)

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
        learnt = self.sides.learnt(bench, place, (searched, searched), window, seed)
        scored = bench.apply(f"{place}/scored", learnt, searched)
        return self.bumps(bench, f"{place}/bumps", (searched, scored), window)

    def bumps(
        self, bench: Bench, stage: str, files: tuple[Path, Path], window: tuple[float, float]
    ) -> dict[str, float]:
        """The same for events that are scored: ``files`` are those before and after."""

        def work(folder: Path) -> dict[str, float]:
            events, score = bench.events(files[0]), scores(bench, *files)
            known = ~score.isnan()
            events, score = events[known], score[known]
            fold = folds_of(row_hashes(events, (LABEL.name,)), self.sides.ratio.folds)
            mass = masses(bench.datamodule.native_spec, events)
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
