"""Samples as they come, in place of mixtures by label: their classes need not be alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from simulacra.core import UserError
from simulacra.studies.bands import repeated
from simulacra.studies.files import together
from simulacra.studies.weak.curves import below
from simulacra.studies.weak.samples import KINDS, Mixed, by_kind
from simulacra.studies.weak.task import Part, Task


class OwnSamples(Part):
    """Samples of the data set by the values of fields, each with the fraction that it has.

    A classifier of two of them sees all in which they differ, and signal of one may differ from that of the
    other: what this costs is the difference from the comparison of mixtures by label.

    Args:
        samples: Values of fields by name, for each sample by its name.

    Raises:
        UserError: If there are fewer than two.
    """

    def __init__(self, samples: Mapping[str, Mapping[str, int]]) -> None:
        self.samples = {name: dict(chosen) for name, chosen in samples.items()}
        if len(self.samples) < 2:
            raise UserError(f"own samples are two or more, got {list(self.samples)}")

    def run(self, task: Task) -> None:
        """See the base class."""
        mixed = self._mixed(task)
        members = []
        for replica in range(task.replicas):
            place = f"own/{replica}"
            scored = {
                name: task.learn(f"{place}/{name}", learner, mixed, replica)
                for name, learner in task.learners.items()
            }
            members.append(task.judge(f"{place}/judged", scored, task.reference))
        figures = below("own", repeated(members))
        for name, fraction in zip(self.samples, mixed.fractions, strict=True):
            figures[f"own/fraction/{name}"] = fraction
        task.bench.report("Samples as they come", figures, text=TEXT)

    def _mixed(self, task: Task) -> Mixed:
        """The samples as mixtures."""
        blind, bags, fractions = task.events.bench, [], []
        kinds: dict[str, list[Path]] = {kind: [] for kind in KINDS}
        for name, chosen in self.samples.items():
            files = by_kind(
                task.bench, blind, task.labels, f"own/samples/{name}", "train", chosen
            )  # fmt: skip
            weight = [
                float(blind.events(files[kind]).weight_or_one().double().sum()) for kind in KINDS
            ]
            fractions.append(weight[1] / sum(weight))
            bags.append(together(blind, f"own/bags/{name}", list(files.values())))
            for kind in KINDS:
                kinds[kind].append(files[kind])
        pure = {kind: together(blind, f"own/kinds/{kind}", paths) for kind, paths in kinds.items()}
        return Mixed(bags, fractions, pure)


TEXT = (
    "The samples of the data set as they are, with the fractions that they have; lack as above, of "
    "labels on the same events. What tells the samples apart beside their fractions is learnt, too."
)
