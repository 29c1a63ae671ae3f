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
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, IncompatibleError, Spec
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.data.base import EventDataModule, Loading
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
            source = PairSource(self.first.part(name), self.second.part(name))
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


class PairSource:
    """Both samples behind one index: the events of ``first``, then those of ``second``.

    Args:
        first: Events with label 1.
        second: Events with label 0.

    Attributes:
        weight: Event weights ``(N,)`` with equal sums over the samples, or None where all are 1.
    """

    def __init__(self, first: Part, second: Part) -> None:
        self.parts = first, second
        equal = first.weight is None and second.weight is None and len(first) == len(second)
        self.weight = None if equal else torch.cat([self._scaled(part) for part in self.parts])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order, labelled."""
        rows = torch.as_tensor(index, dtype=torch.long)
        ours = rows < len(self.parts[0])
        found = []
        for part, chosen, start, label in zip(
            self.parts, (ours, ~ours), (0, len(self.parts[0])), (FIRST, SECOND), strict=True
        ):
            if bool(chosen.any()) or not len(rows):
                found.append(with_label(part[(rows[chosen] - start).tolist()], label))
        order = torch.cat([ours.nonzero()[:, 0], (~ours).nonzero()[:, 0]])
        batch = Batch.cat(found)[order.argsort()]
        return replace(batch, weight=None if self.weight is None else self.weight[rows])

    def mixed(self) -> Tensor:
        """All events in a fixed order in which both samples are evenly spread, int64 ``(N,)``."""
        places = [
            (torch.arange(len(part)).double() + 0.5) / max(1, len(part)) for part in self.parts
        ]
        return torch.cat(places).argsort(stable=True)

    def _scaled(self, part: Part) -> Tensor:
        weight = torch.ones(len(part)) if part.weight is None else part.weight
        total = float(
            weight.double().sum()
        )  # above 0 where there are events, as their data module has checked
        return weight * (len(self) / (2 * total)) if len(part) else weight
