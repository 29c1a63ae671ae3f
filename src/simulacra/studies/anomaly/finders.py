"""Ways to find a signal: each scores events that it has not learnt from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core.constructors import role
from simulacra.core.ranges import Count
from simulacra.evaluation.anomaly import anomaly_score
from simulacra.studies.anomaly.classifiers import FARTHEST, Classifier
from simulacra.studies.anomaly.committee import Committee
from simulacra.studies.anomaly.problem import Problem, given_fields
from simulacra.studies.bench import Bench
from simulacra.studies.loading import generator_of


@dataclass(frozen=True)
class Found:
    """What a finder has come to.

    Args:
        scored: The events that are judged, whose weights are multiplied by their scores.
        figures: What is to be reported of the finder itself.
    """

    scored: Path
    figures: Mapping[str, float] = field(default_factory=dict)


@role
class Finder(ABC):
    """A way to find a signal."""

    @abstractmethod
    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """Score the events of a problem that are judged.

        Args:
            bench: The bench.
            problem: What is searched.
            place: Folder of the stages.
            seed: Of the trainings.
        """


class Between(Finder):
    """Reweighters that learn the events within the window against those beside it, given the mass.

    Args:
        committee: The reweighters.
    """

    def __init__(self, committee: Committee) -> None:
        self.committee = committee

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class."""
        samples = problem.window, problem.sideband
        given = f"model.given={given_fields(bench.datamodule.native_spec)}"
        learnt = self.committee.between(bench, f"{place}/learnt", samples, [given], seed)
        return Found(bench.apply(f"{place}/scored", learnt, problem.judged))


class Supervised(Finder):
    """A classifier of events whose labels it is told: what there is to be gained.

    Args:
        classifier: It.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class."""
        samples = problem.signal, problem.background
        return Found(self.classifier.scored(bench, place, samples, problem.judged, seed))


class Likelihood(Finder):
    """What is unlikely under the density of the events beside the window: the score is the inverse density.

    It is that of the columns as they are. In others, such as their logarithms, other events are unlikely.

    Args:
        settings: Overrides of the training of a generator with a likelihood.
        epochs: Best epochs that are kept; of these the best one is taken.
    """

    def __init__(self, settings: Sequence[str], epochs: Count) -> None:
        self.settings, self.epochs = list(settings), epochs

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class."""
        trained = problem.density(bench, self.settings, self.epochs, seed)
        target = bench.folder(f"{place}/scored") / problem.judged.name

        def work(folder: Path) -> dict[str, float]:
            module = generator_of(bench, trained.checkpoint)
            batch = bench.events(problem.judged)
            score = anomaly_score(module, batch).clamp(-FARTHEST, FARTHEST).exp()
            bench.write(target, replace(batch, weight=batch.weight_or_one() * score))
            return {"events": float(len(batch))}

        bench.compute(f"{place}/scored", work, trained.checkpoint, problem.judged)
        return Found(target)


def scores(bench: Bench, before: Path, scored: Path) -> Tensor:
    """Scores ``(N,)`` of the events of a file, from their weights before and after; NaN of an event without
    weight.
    """
    plain, weighed = (bench.events(path).weight_or_one().double() for path in (before, scored))
    return torch.where(plain > 0, weighed / plain, torch.nan)
