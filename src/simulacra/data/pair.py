r"""Two samples of one kind of event, told apart by a label: what reweighting and transport learn from.

The event field ``label`` is 1 for an event of ``first`` and 0 for one of ``second``. A part of the data holds
all events of both samples' parts, evenly mixed, so that any stretch of it holds both in the proportion
of their numbers; training batches are drawn from all of them, each event once an epoch. Within a part the
event weights of sample ``k`` are multiplied by

.. math:: \frac{N}{2 \sum_{i \in k} w_i}, \qquad N = n_1 + n_2,

so that both samples have the same total weight in every loss, whatever their sizes and weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, IncompatibleError, Spec
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.data.base import EventDataModule, Loading
from simulacra.data.joined import Joined, weight_or_one
from simulacra.data.source import Part
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet

SAME = ("kind", "shape", "unit", "features", "conditions", "event", "geometry")
"""In what both samples must agree."""


class PairDataModule(EventDataModule):
    """See the module's docstring.

    Files, views and splits are those of the two data modules; their own batch sizes are not used, nor is
    the fraction for validation of ``loading``.

    Args:
        first: The sample with label 1, the target.
        second: The sample with label 0.
        loading: Sizes of batches of both samples together and their order.

    Raises:
        IncompatibleError: If the two samples hold different kinds of events.
    """

    def __init__(self, first: EventDataModule, second: EventDataModule, loading: Loading) -> None:
        super().__init__(loading)
        one, two = first.spec, second.spec
        for name in SAME:
            if getattr(one, name) != getattr(two, name):
                raise IncompatibleError(
                    f"{one.name} and {two.name} are no pair, as they differ in {name}: both samples need "
                    "the same kind of event"
                )
        self.first, self.second = first, second

    @property
    def native_spec(self) -> Spec:
        """What the files promise, and the label."""
        return labelled(self.first.native_spec)

    @property
    def spec(self) -> Spec:
        """What the model sees."""
        return labelled(self.first.spec)

    @property
    def format(self) -> Format:
        """Reader and writer of the files of ``first``, which know no label."""
        return self.first.format

    @property
    def observables(self) -> ObservableSet:
        """Observables of native events."""
        return self.first.observables

    @property
    def judged(self) -> ObservableSet:
        """Observables of the events that are judged."""
        return self.first.judged

    def native(self, batch: Batch) -> Batch:
        """Events as they are judged and written."""
        return self.first.native(batch)

    def shown(self, native: Batch) -> Batch:
        """Native events as the model sees them."""
        return self.first.shown(native)

    @property
    def provenance(self) -> dict[str, str]:
        """Where the events of both samples come from."""
        sides = {"first": self.first, "second": self.second}
        return {
            f"{side}/{key}": value
            for side, module in sides.items()
            for key, value in module.provenance.items()
        }

    def prepare_data(self) -> None:
        """Make the caches of both."""
        self.first.prepare_data()
        self.second.prepare_data()

    def load(self) -> Mapping[str, Part]:
        """Both samples' parts, evenly mixed."""
        parts = {}
        for name in ("train", "val", "test"):
            sides = self.first.part(name), self.second.part(name)
            marks = [partial(with_label, number=number) for number in (FIRST, SECOND)]
            source = Joined(sides, marks, equal_weights(sides))
            parts[name] = Part(source, source.mixed())
        return parts

    def conditions(
        self, n: int, generator: torch.Generator | None = None, part: str = "test"
    ) -> Conditions:
        """Those of ``first``."""
        return self.first.conditions(n, generator, part)

    def trained_range(self) -> dict[str, tuple[float, float]]:
        """The range that both samples together cover."""
        one, two = self.first.trained_range(), self.second.trained_range()
        return {
            name: (min(low, two[name][0]), max(high, two[name][1]))
            for name, (low, high) in one.items()
        }

    def remarks(self) -> dict[str, str]:
        """Those on both samples."""
        sides = {"first": self.first, "second": self.second}
        return {
            f"{side}/{key}": text
            for side, module in sides.items()
            for key, text in module.remarks().items()
        }

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Toy files of ``first``; of ``second``, too, where its files have other names."""
        self.second.write_toy(folder, n, seed + 1)
        self.first.write_toy(folder, n, seed)


def equal_weights(parts: Sequence[Part]) -> Tensor | None:
    """Event weights ``(N,)`` with equal sums over the samples, or None where all are 1."""
    if all(part.weight is None and len(part) == len(parts[0]) for part in parts):
        return None
    n = sum(map(len, parts))
    scaled = []
    for part in parts:
        weight = weight_or_one(part)
        # above 0 where there are events, as their data module has checked
        total = float(weight.double().sum())
        scaled.append(weight * (n / (len(parts) * total)) if len(part) else weight)
    return torch.cat(scaled)
