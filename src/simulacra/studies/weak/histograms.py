"""The best classifier of few observables: the ratio of their histograms, which needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.metrics.binned_unfolding import content, edges
from simulacra.metrics.binned_unfolding import place as place_of
from simulacra.studies.bench import Bench, suffix_of
from simulacra.studies.unfolding_cases import observed
from simulacra.studies.weak.samples import Mixed
from simulacra.studies.weak.task import Task

NAMES = ("histogram", "histogram_mixed")
"""Of the ratio of both classes, and of that of the mixtures."""


@constructor
class Histograms:
    """Ratios of histograms of some observables together, of both classes and of the mixtures.

    With bins fine enough and events enough nothing that looks at the same observables does better than the
    first. Bins have equal content along each observable; each gets half an event of either sample on top, so
    that no ratio is without end.

    Args:
        sight: Name of the sight that it stands beside.
        observables: Names of the observables.
        bins: Bins of each, at most.

    Raises:
        UserError: If there are no observables.
    """

    def __init__(self, sight: str, observables: Sequence[str], bins: Count) -> None:
        self.sight, self.observables, self.bins = sight, list(observables), bins
        if not self.observables:
            raise UserError("a histogram needs at least one observable")

    def score(self, task: Task, stage: str, mixed: Mixed) -> dict[str, Path]:
        """The test events, their weights times either ratio, by name."""
        blind = task.events.bench
        folder, suffix = blind.folder(stage), suffix_of(blind.datamodule)
        targets = {name: folder / f"{name}{suffix}" for name in NAMES}
        pairs = (mixed.pure["signal"], mixed.pure["background"]), mixed.extremes

        def work(_: Path) -> dict[str, float]:
            test = blind.events(task.events.test)
            for name, files in zip(NAMES, pairs, strict=True):
                samples = [blind.events(path) for path in files]
                ratio = self._ratio(blind, samples, test)
                weight = test.weight_or_one() * ratio.float()
                blind.write(targets[name], replace(test, weight=weight))
            return {}

        blind.compute(
            stage, work, task.events.test, [list(pair) for pair in pairs], self.observables,
            self.bins,
        )  # fmt: skip
        return targets

    def _ratio(self, bench: Bench, samples: Sequence[Batch], test: Batch) -> Tensor:
        """Ratio of the densities of two samples where the test events are ``(N,)``."""
        columns = [observed(bench, batch, self.observables) for batch in (*samples, test)]
        weights = [batch.weight_or_one().double() for batch in samples]
        places = [torch.zeros(len(batch), dtype=torch.long) for batch in (*samples, test)]
        whole = 1
        for name in self.observables:
            both = torch.cat([column[name] for column in columns[:2]])
            cuts = edges(both, self.bins, torch.cat(weights))
            size = len(cuts) + 2
            places = [
                place * size + place_of(column[name], cuts)
                for place, column in zip(places, columns, strict=True)
            ]
            whole *= size
        filled = []
        for place, weight in zip(places[:2], weights, strict=True):
            found = content(place, whole, weight) + 0.5 * weight.mean()
            filled.append(found / found.sum())
        return (filled[0] / filled[1])[places[2]]
