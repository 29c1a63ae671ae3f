"""A start from a simulation: what labels there have taught, mixtures of data go on to teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulacra.core import UserError
from simulacra.core.ranges import Count
from simulacra.studies.bands import repeated
from simulacra.studies.weak.curves import below
from simulacra.studies.weak.learners import Labelled
from simulacra.studies.weak.samples import by_kind, mix
from simulacra.studies.weak.task import Part, Task


class Hybrid(Part):
    """Some events are a simulation, whose labels are known, the others data, of which there are few.

    A classifier learns from the simulation with labels; each weak learner begins with its weights and goes on
    with mixtures of data. Beside it are that classifier as it is, and the weak learners without it; all are
    judged on test events of the data.

    Args:
        simulation: Values of fields that make an event one of the simulation, by name.
        data: The same of data.
        size: Events of each mixture of data, at most.
        training: Overrides of the training that goes on, such as a lower rate.

    Raises:
        UserError: If nothing tells simulation and data apart.
    """

    def __init__(
        self,
        simulation: Mapping[str, int],
        data: Mapping[str, int],
        size: Count,
        training: Sequence[str],
    ) -> None:
        self.simulation, self.data, self.size = dict(simulation), dict(data), size
        self.training = list(training)
        if not simulation or simulation == data:
            raise UserError("a hybrid needs fields whose values tell simulation and data apart")

    def run(self, task: Task) -> None:
        """See the base class."""
        bench, blind = task.bench, task.events.bench
        pools = {
            name: by_kind(bench, blind, task.labels, f"hybrid/{name}", "train", chosen)
            for name, chosen in (("simulation", self.simulation), ("data", self.data))
        }
        judged = by_kind(bench, blind, task.labels, "hybrid/test", "test", self.data)
        own = replace(task, events=task.events.of(judged, "hybrid/judged"))
        teachers = [item for item in task.learners.values() if item.labelled]
        teacher = teachers[0] if teachers else Labelled([])
        members = []
        for replica in range(task.replicas):
            place, seed = f"hybrid/{replica}", bench.seed + replica
            simulated = mix(blind, f"{place}/simulated", pools["simulation"], [0.5], seed)
            mixed = mix(
                blind, f"{place}/mixtures", pools["data"], task.fractions, seed, self.size
            )  # fmt: skip
            before = own.train(f"{place}/before", teacher, simulated, replica)
            scored = {"simulation": own.score(f"{place}/scored", before)}
            goes_on = [f"init.checkpoint={before}", "init.statistics=true", *self.training]
            for name, learner in task.weak.items():
                scored[f"{name}_alone"] = own.learn(
                    f"{place}/{name}_alone", learner, mixed, replica
                )
                scored[name] = own.learn(
                    f"{place}/{name}", learner, mixed, replica, more=goes_on
                )  # fmt: skip
            members.append(own.judge(f"{place}/judged", scored, "simulation"))
        figures = below("hybrid", repeated(members))
        bench.report("Start from a simulation", figures, text=TEXT)


TEXT = (
    "simulation: a classifier with its labels, on test events of the data; each weak learner alone on few "
    "data, and with a start from that classifier. lack is what it lacks of the area under the ROC curve "
    "of simulation alone: below 0 data have taught something."
)
