"""Training, applying and judging of classifiers in a study of weak supervision, each a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core.constructors import role
from simulacra.metrics.classifiers.delong import areas
from simulacra.studies.bench import Bench
from simulacra.studies.weak.learners import Learner
from simulacra.studies.weak.samples import Labels, Mixed, Sorted, mix


@dataclass(frozen=True)
class Task:
    """What all parts of a study work with.

    Args:
        bench: Sees the labels.
        labels: Where they are.
        events: Events by class.
        fractions: Shares of signal of the mixtures.
        learners: What learns, by name.
        sights: Overrides by which classifiers look at events, by name, the first being the one of all parts.
        training: Overrides of all trainings.
        replicas: Repetitions with other mixtures and seeds.
        scored: Test events that each learner has scored in the first repetition, by name.
    """

    bench: Bench
    labels: Labels
    events: Sorted
    fractions: Sequence[float]
    learners: Mapping[str, Learner]
    sights: Mapping[str, Sequence[str]]
    training: Sequence[str]
    replicas: int
    scored: Mapping[str, Path] = field(default_factory=dict)

    @property
    def looks(self) -> Sequence[str]:
        """The sight of all parts."""
        return next(iter(self.sights.values()))

    @property
    def reference(self) -> str | None:
        """Name of the learner with labels; None: there is none."""
        return next((name for name, item in self.learners.items() if item.labelled), None)

    @property
    def weak(self) -> dict[str, Learner]:
        """Learners without labels."""
        return {name: item for name, item in self.learners.items() if not item.labelled}

    def mixed(
        self, stage: str, fractions: Sequence[float], replica: int, size: int | None = None
    ) -> Mixed:
        """Mixtures of the training events."""
        blind, seed = self.events.bench, self.bench.seed + replica
        return mix(blind, stage, self.events.pools, fractions, seed, size)

    def train(
        self,
        stage: str,
        learner: Learner,
        mixed: Mixed,
        replica: int = 0,
        looks: Sequence[str] | None = None,
        stated: Sequence[float] | None = None,
        more: Sequence[str] = (),
    ) -> Path:
        """The checkpoint of a learner.

        Args:
            stage: Name of the stage.
            learner: Who learns.
            mixed: What from.
            replica: Number of the repetition, which has a seed of its own.
            looks: Overrides by which it looks at events; None: those of all parts.
            stated: What it is told of the fractions; None: the truth.
            more: Further overrides.
        """
        blind = self.events.bench
        own = learner.data(blind, mixed, mixed.fractions if stated is None else stated)
        sees = self.looks if looks is None else looks
        seed = f"seed={self.bench.seed + replica}"
        return blind.train(
            stage, *own, seed, *self.training, *learner.settings, *sees, *more
        ).checkpoint

    def score(self, stage: str, checkpoint: Path) -> Path:
        """The test events, their weights times the odds that a classifier sees."""
        return self.events.bench.apply(stage, checkpoint, self.events.test)

    def learn(
        self,
        place: str,
        learner: Learner,
        mixed: Mixed,
        replica: int = 0,
        looks: Sequence[str] | None = None,
        stated: Sequence[float] | None = None,
        more: Sequence[str] = (),
    ) -> Path:
        """Train, then score the test events; arguments as of :meth:`train`."""
        checkpoint = self.train(
            f"{place}/training", learner, mixed, replica, looks, stated, more
        )  # fmt: skip
        return self.score(f"{place}/scored", checkpoint)

    def logits(self, scored: Path) -> Tensor:
        """Logits of the test events ``(N,)``, float64; those of a file as :meth:`score` writes it."""
        plain, weighed = (
            self.events.bench.events(path).weight_or_one().double()
            for path in (self.events.test, scored)
        )
        return torch.where(plain > 0, weighed / plain, 1.0).log()

    def judge(
        self, stage: str, scored: Mapping[str, Path], against: str | None = None
    ) -> dict[str, float]:
        """Areas under the ROC curves of scores of the test events.

        Args:
            stage: Name of the stage.
            scored: Files as of :meth:`score`, by name.
            against: Name of the one from which all are subtracted, or None.

        Returns:
            By name ``…/auc`` and ``…/lack`` (what it has less than ``against``), with their errors as
            ``…/error``, and ``…/mean``, the mean prediction.
        """

        def work(folder: Path) -> dict[str, float]:
            weight = self.events.bench.events(self.events.test).weight_or_one().double()
            logits = torch.stack([self.logits(path) for path in scored.values()])
            found = areas(*self.events.apart(logits), *self.events.apart(weight))
            names, figures = list(scored), {}
            for k, name in enumerate(names):
                figures[f"{name}/auc"] = float(found.auc[k])
                figures[f"{name}/auc/error"] = float(found.error[k])
                mean = (torch.sigmoid(logits[k]) * weight).sum() / weight.sum()
                figures[f"{name}/mean"] = float(mean)
                if against is not None and name != against:
                    lost = found.difference(names.index(against), k)
                    figures[f"{name}/lack"], figures[f"{name}/lack/error"] = lost
            return figures

        return self.bench.compute(
            stage, work, self.events.test, dict(scored), list(self.events.counts), against
        )


@role
class Part(ABC):
    """Something that a study of weak supervision looks at beside the comparison of all learners."""

    @abstractmethod
    def run(self, task: Task) -> None:
        """Its stages, and its section of the report."""
