"""What tells data within a window from drawn background, by the features alone: networks or boosted trees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive
from simulacra.core.rows import Learnt, known, row_hashes
from simulacra.studies.anomaly.committee import Committee
from simulacra.studies.anomaly.problem import given_fields
from simulacra.studies.bench import Bench
from simulacra.studies.ratio import PARTICLE, sight

FARTHEST = 60.0
"""Logarithm of a score, at most, either way."""


@role
class Classifier(ABC):
    """See the module's docstring."""

    @abstractmethod
    def scored(
        self, bench: Bench, place: str, samples: tuple[Path, Path], judged: Path, seed: int
    ) -> Path:
        """The file of the judged events, their weights multiplied by odds.

        Args:
            bench: The bench.
            place: Folder of the stages.
            samples: What is looked for, and what it is told from.
            judged: Events that are scored.
            seed: Of all trainings.

        Raises:
            UserError: If judged events are among those that are learnt from.
        """


class Networks(Classifier):
    """A committee of networks.

    Args:
        committee: It.
    """

    def __init__(self, committee: Committee) -> None:
        self.committee = committee

    def scored(
        self, bench: Bench, place: str, samples: tuple[Path, Path], judged: Path, seed: int
    ) -> Path:
        """See the base class."""
        sees = self.sees(bench.datamodule.native_spec)
        learnt = self.committee.between(bench, f"{place}/learnt", samples, sees, seed)
        return bench.apply(f"{place}/scored", learnt, judged)

    def sees(self, spec: Spec) -> list[str]:
        """Overrides by which networks look at all columns of a table, and at nothing that is given."""
        return sight(spec, PARTICLE, None)


class SetNetworks(Networks):
    """A committee of networks of sets, which look at the points of clouds and at their numbers.

    Args:
        committee: It, with a classifier of points (``classifier@model=epic`` or ``deep_sets``).
    """

    def sees(self, spec: Spec) -> list[str]:
        """Overrides by which networks look at points and numbers, and at nothing that is given."""
        return [f"model.given={given_fields(spec)}", "model.sees.points.conditions=false"]


class Trees(Classifier):
    """Boosted trees, which need fewer events than networks to find a small signal.

    Each member learns from a random half of the events and stops where the other half improves no more; the
    mean of all log odds counts.

    Args:
        members: Boosted classifiers.
        iterations: Trees of each of them, at most.
        rate: Learning rate.
        leaves: Leaves of a tree, at most.

    Reference: Finke et al., arXiv:2309.13111, for trees in weak supervision.
    """

    def __init__(self, members: Count, iterations: Count, rate: Positive, leaves: Count) -> None:
        self.members, self.iterations, self.rate, self.leaves = members, iterations, rate, leaves

    def scored(
        self, bench: Bench, place: str, samples: tuple[Path, Path], judged: Path, seed: int
    ) -> Path:
        """See the base class.

        Raises:
            UserError: If the data set is no table.
        """
        refuse_points(bench.datamodule.native_spec)
        target = bench.folder(f"{place}/scored") / judged.name

        def work(folder: Path) -> dict[str, float]:
            first, second = (bench.events(path) for path in samples)
            events = bench.events(judged)
            refuse_learnt(events, (first, second))
            odds = self.log_odds(first, second, events.x, seed).clamp(-FARTHEST, FARTHEST)
            weight = events.weight_or_one().double() * odds.exp()
            bench.write(target, replace(events, weight=weight.float()))
            return {"events": float(len(events))}

        settings = [self.members, self.iterations, self.rate, self.leaves, seed]
        bench.compute(f"{place}/scored", work, *samples, judged, *settings)
        return target

    def log_odds(self, first: Batch, second: Batch, x: Tensor, seed: int) -> Tensor:
        """Mean log odds ``(N,)`` of rows ``(N, F)``; both samples have the same total weight."""
        rows = torch.cat([first.x, second.x]).double().numpy()
        label = np.concatenate([np.ones(len(first)), np.zeros(len(second))])
        weights = [batch.weight_or_one().double() for batch in (first, second)]
        weight = torch.cat([len(label) * own / (2 * own.sum()) for own in weights]).numpy()
        found = np.zeros(len(x))
        for member in range(self.members):
            trees = HistGradientBoostingClassifier(
                max_iter=self.iterations,
                learning_rate=self.rate,
                max_leaf_nodes=self.leaves,
                early_stopping=True,
                validation_fraction=0.5,
                random_state=seed + member,
            ).fit(rows, label, sample_weight=weight)
            found += trees.decision_function(x.double().numpy())
        return torch.from_numpy(found / self.members)


def refuse_points(spec: Spec) -> None:
    """Refuse events that have no columns.

    Raises:
        UserError: If they are no rows of a table.
    """
    if spec.kind != "table":
        raise UserError(
            f"boosted trees learn columns of a table, and {spec.name} has events of kind {spec.kind!r}: take "
            "set_networks for clouds"
        )


def refuse_learnt(judged: Batch, samples: Sequence[Batch]) -> None:
    """Refuse to score events by what they have taught.

    Raises:
        UserError: If more of them were learnt from than chance explains.
    """
    learnt = [Learnt(row_hashes(batch).sort().values) for batch in samples]
    found = known(row_hashes(judged), learnt)
    if found:
        raise UserError(
            f"{found} of {len(judged)} events are among those that a classifier learns from: score others"
        )
