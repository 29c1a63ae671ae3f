"""What finds the weights of a refinement: a network, several cross-fitted ones, or boosted trees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from simulacra.core.constructors import role
from simulacra.core.ranges import Count
from simulacra.metrics.classifiers.boosted_ratio import boosted_ratio
from simulacra.metrics.engine.score import judged
from simulacra.studies.bench import Bench
from simulacra.studies.files import together
from simulacra.studies.ratio import Ratio


@role
class Weigher(ABC):
    """Weighs a file of events that it has not learnt from."""

    @abstractmethod
    def weigh(
        self, bench: Bench, name: str, truth: Path, learn: Path, given: Path, replica: int = 0
    ) -> Path:
        """The file of ``given`` with weights.

        Args:
            bench: Where it works.
            name: Beginning of the names of its stages.
            truth: What events shall look like.
            learn: Events like those that are weighed, to learn from.
            given: What is weighed.
            replica: Number of a repetition with other randomness.
        """


class Network(Weigher):
    """A classifier that is trained on other events.

    Args:
        training: Overrides of its training, its model among them.
    """

    def __init__(self, training: Sequence[str]) -> None:
        self.training = training

    def weigh(
        self, bench: Bench, name: str, truth: Path, learn: Path, given: Path, replica: int = 0
    ) -> Path:
        """See the base class."""
        pair = [
            *bench.data_as("data.first", f"files.train=[{truth}]", f"files.test=[{truth}]"),
            *bench.data_as("data.second", f"files.train=[{learn}]", f"files.test=[{given}]"),
        ]
        seed = f"seed={bench.seed + replica}"
        trained = bench.train(f"{name}weigher", "data=pair", *pair, seed, *self.training)
        return bench.apply(f"{name}weighed", trained.checkpoint, given)


class CrossFitted(Weigher):
    """Classifiers that learn from all generated events, each of which is weighed by those that have not seen
    it.

    Args:
        ratio: How they are trained.
    """

    def __init__(self, ratio: Ratio) -> None:
        self.ratio = ratio

    def weigh(
        self, bench: Bench, name: str, truth: Path, learn: Path, given: Path, replica: int = 0
    ) -> Path:
        """See the base class."""
        both = together(bench, f"{name}learned", [learn, given])
        found = self.ratio.between(bench, f"{name}weigher", (truth, both), [], replica)
        return bench.apply(f"{name}weighed", found, given)


class Trees(Weigher):
    """Boosted trees in the high-level features of the data set; each event is weighed by trees that have not
    seen it, and what there is beside to learn from is not used.

    Args:
        iterations: Trees of each fold.
    """

    def __init__(self, iterations: Count) -> None:
        self.iterations = iterations

    def weigh(
        self, bench: Bench, name: str, truth: Path, learn: Path, given: Path, replica: int = 0
    ) -> Path:
        """See the base class."""
        target = bench.folder(f"{name}weighed") / given.name

        def work(folder: Path) -> dict[str, float]:
            events = bench.events(given)
            first, second = (
                judged(batch, bench.datamodule.observables).sample
                for batch in (bench.events(truth), events)
            )
            weights = first.weight, second.weight
            ratio = boosted_ratio(
                first.features, second.features, *weights, bench.seed + replica, self.iterations
            )
            weight = torch.zeros(len(events), dtype=torch.float64)  # of events without a weight
            weight[slice(None) if second.position is None else second.position] = (
                second.weight.double() * ratio
            )
            bench.write(target, replace(events, weight=weight.float()))
            return {"events": float(len(events))}

        seed = bench.seed + replica
        bench.compute(f"{name}weighed", work, truth, given, self.iterations, seed)
        return target
