r"""Two samples of one kind of event, told apart by a label: what reweighting and transport learn from.

The event field ``label`` is 1 for an event of ``first`` and 0 for one of ``second``. A part of the data holds
all events of both samples' parts, evenly mixed, so that any stretch of it holds both in the proportion
of their numbers; training batches are drawn from all of them, each event once an epoch. Within a part the
event weights of sample ``k`` are multiplied by

.. math:: \frac{N}{2 \sum_{i \in k} w_i}, \qquad N = n_1 + n_2,

so that both samples have the same total weight in every loss, whatever their sizes and weights.

With ``folds`` events fall into folds by their values alone (:mod:`simulacra.core.rows`), the same ones in
both samples and in every file. Those of one fold are left out of training and validation, so that what learns
from the others may be applied to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, IncompatibleError, Spec, UserError
from simulacra.core.pair import FIRST, LABEL, SECOND, labelled, with_label
from simulacra.core.ranges import Interval, Whole
from simulacra.core.rows import folds_of, row_hashes
from simulacra.data.base import EventDataModule, Loading
from simulacra.data.joined import Joined, weight_or_one
from simulacra.data.source import FixedBatches, Part
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
        folds: Number of folds (None: all events are learnt from).
        fold: The one that is left out, from 0.

    Raises:
        IncompatibleError: If the two samples hold different kinds of events.
        UserError: If there are fewer than two folds, or there is none of that number.
    """

    def __init__(
        self,
        first: EventDataModule,
        second: EventDataModule,
        loading: Loading,
        folds: Annotated[int, Interval(2)] | None = None,
        fold: Whole | None = None,
    ) -> None:
        super().__init__(loading)
        if (folds is None) != (fold is None) or (folds or 1) <= (fold or 0):
            raise UserError(
                "folds are numbered from 0: data.folds=5 data.fold=0 leaves out the first of five, got "
                f"folds={folds}, fold={fold}"
            )
        self.folds, self.fold = folds, fold
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
            sides = self._side("first", name), self._side("second", name)
            marks = [partial(with_label, number=number) for number in (FIRST, SECOND)]
            source = Joined(sides, marks, equal_weights(sides))
            parts[name] = Part(source, source.mixed())
        return parts

    def learnt(self) -> dict[str, Tensor]:
        """Sorted hashes of the rows of ``train`` and ``val`` by sample, int64 ``(N,)``, without the label."""
        parts = [self.part(name) for name in ("train", "val")]
        hashes = torch.cat([self._hashes(part) for part in parts])
        first = torch.cat([self._label(part) for part in parts])
        sides = {"first": hashes[first], "second": hashes[~first]}
        return {side: found.sort().values for side, found in sides.items()}

    def looked_at(self) -> FixedBatches:
        """The events of validation, the same on every rank."""
        part = self.part("val")
        return FixedBatches(part, self.loading.eval_batch_size, len(part))

    def _label(self, part: Part) -> Tensor:
        """Which events are of ``first``, bool ``(n,)``."""
        assert isinstance(part.source, Joined)
        return part.source.sample(part.index) == 0

    def _side(self, side: str, name: str) -> Part:
        """A part of one sample, without the fold that is left out."""
        part: Part = getattr(self, side).part(name)
        if self.folds is None or name == "test":
            return part
        left_out = torch.eq(folds_of(self._hashes(part), self.folds), self.fold or 0)
        return part.some((~left_out).nonzero()[:, 0])

    def _hashes(self, part: Part) -> Tensor:
        size = self.loading.eval_batch_size
        starts = range(0, len(part), size)
        found = [
            row_hashes(part[range(i, min(i + size, len(part)))], (LABEL.name,)) for i in starts
        ]
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)

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
