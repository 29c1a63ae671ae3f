"""What finds the weights of a refinement: a network, or boosted trees."""

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


@role
class Weigher(ABC):
    """Weighs a file of events that it has not learnt from."""

    @abstractmethod
    def weigh(self, bench: Bench, name: str, truth: Path, learn: Path, given: Path) -> Path:
        """The file of ``given`` with weights.

        Args:
            bench: Where it works.
            name: Beginning of the names of its stages.
            truth: What events shall look like.
            learn: Events like those that are weighed, to learn from.
            given: What is weighed.
        """


class Network(Weigher):
    """A classifier that is trained on other events.

    Args:
        training: Overrides of its training, its model among them.
    """

    def __init__(self, training: Sequence[str]) -> None:
        self.training = training

    def weigh(self, bench: Bench, name: str, truth: Path, learn: Path, given: Path) -> Path:
        """See the base class."""
        pair = [
            *bench.data_as("data.first", f"files.train=[{truth}]", f"files.test=[{truth}]"),
            *bench.data_as("data.second", f"files.train=[{learn}]", f"files.test=[{given}]"),
        ]
        trained = bench.train(f"{name}weigher", "data=pair", *pair, *self.training)
        return bench.apply(f"{name}weighed", trained.checkpoint, given)


class Trees(Weigher):
    """Boosted trees in the high-level features of the data set; each event is weighed by trees that have not
    seen it, and what there is beside to learn from is not used.

    Args:
        iterations: Trees of each fold.
    """

    def __init__(self, iterations: Count) -> None:
        self.iterations = iterations

    def weigh(self, bench: Bench, name: str, truth: Path, learn: Path, given: Path) -> Path:
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
                first.features, second.features, *weights, bench.seed, self.iterations
            )
            weight = torch.zeros(len(events), dtype=torch.float64)  # of events without a weight
            weight[slice(None) if second.position is None else second.position] = (
                second.weight.double() * ratio
            )
            bench.write(target, replace(events, weight=weight.float()))
            return {"events": float(len(events))}

        bench.compute(f"{name}weighed", work, truth, given, self.iterations, bench.seed)
        return target
