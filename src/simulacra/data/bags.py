"""Events of one data set in bags, of which the share of signal is known: each file is one.

Each training file is a bag, and where there are files of a test or a validation part, they are the same bags
in the same order; parts without files are cut off the training events as in
:mod:`simulacra.data.file_data`. Every event carries the number of its bag and the share of signal that is
stated for it (:mod:`simulacra.core.bags`). What an event is, the model is not shown: fields that say it are
not in its spec, while events keep them for who judges and writes them.

Within a part, the bags are evenly mixed, so that any stretch of it holds each of them in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, Spec, UserError
from simulacra.core.bags import MARKS, bagged, seen, unbagged, with_bag
from simulacra.core.ranges import Share
from simulacra.core.rows import row_hashes
from simulacra.data.base import EventDataModule, Loading
from simulacra.data.file_data import FileDataModule
from simulacra.data.source import FixedBatches, Part
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet


class BagDataModule(EventDataModule):
    """See the module's docstring.

    Files, views and splits are those of the data set; its own batch sizes are not used, nor is the fraction
    for validation of ``loading``.

    Args:
        of: The data set.
        fractions: Stated share of signal of each training file, in their order.
        loading: Sizes of batches of all bags together and their order.
        hidden: Conditions and event fields that are not shown (None: those of the role ``class``).

    Raises:
        IncompatibleError: If the data set does not come from files.
        UserError: If there are no fractions, or a hidden field is none of the data set.
    """

    def __init__(
        self,
        of: EventDataModule,
        fractions: Sequence[Share],
        loading: Loading,
        hidden: Sequence[str] | None = None,
    ) -> None:
        super().__init__(loading)
        if not isinstance(of, FileDataModule):
            raise IncompatibleError(f"bags are files, and {of.native_spec.name} has none")
        if not fractions:
            raise UserError("say which share of each file is signal: data.fractions=[0.8,0.2]")
        self.of, self.fractions = of, tuple(float(item) for item in fractions)
        fields = {field.name: field for field in (*of.spec.conditions, *of.spec.event)}
        strange = [name for name in hidden or () if name not in fields]
        if strange:
            raise UserError(f"data.hidden names {strange[0]!r}: there are {', '.join(fields)}")
        self.hidden = (
            tuple(name for name, field in fields.items() if field.role == "class")
            if hidden is None
            else tuple(hidden)
        )

    @property
    def native_spec(self) -> Spec:
        """What the files promise, with the bags."""
        return self._bagged(self.of.native_spec)

    @property
    def spec(self) -> Spec:
        """What the model sees."""
        return self._bagged(self.of.spec)

    @property
    def format(self) -> Format:
        """Reader and writer of the files, which know no bags."""
        return self.of.format

    @property
    def observables(self) -> ObservableSet:
        """Observables of native events."""
        return self.of.observables

    @property
    def judged(self) -> ObservableSet:
        """Observables of the events that are judged."""
        return self.of.judged

    def native(self, batch: Batch) -> Batch:
        """Events as they are judged and written."""
        return self.of.native(batch)

    def shown(self, native: Batch) -> Batch:
        """Native events as the model sees them."""
        return self.of.shown(native)

    @property
    def provenance(self) -> dict[str, str]:
        """Where the events come from, and what is stated of them."""
        stated = ", ".join(f"{fraction:g}" for fraction in self.fractions)
        return {**self.of.provenance, "fractions": stated}

    def prepare_data(self) -> None:
        """Make the caches."""
        self.of.prepare_data()

    def load(self) -> Mapping[str, Part]:
        """The parts, bags evenly mixed.

        Raises:
            UserError: If there are more or fewer files than fractions.
        """
        return {name: self._part(name) for name in ("train", "val", "test")}

    def learnt(self) -> dict[str, Tensor]:
        """Sorted hashes of the rows of ``train`` and ``val``, int64 ``(N,)``, without the bags."""
        size, shown = self.loading.eval_batch_size, unbagged(self.spec)
        found = [
            row_hashes(seen(batch, shown), MARKS)
            for name in ("train", "val")
            for batch in FixedBatches(self.part(name), size, len(self.part(name)))
        ]
        return {"bags": torch.cat(found).sort().values}

    def looked_at(self) -> FixedBatches:
        """The events of validation, the same on every rank."""
        part = self.part("val")
        return FixedBatches(part, self.loading.eval_batch_size, len(part))

    def remarks(self) -> dict[str, str]:
        """Those on the events without their bags."""
        return self.of.remarks()

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Toy files of the data set."""
        self.of.write_toy(folder, n, seed)

    def _bagged(self, spec: Spec) -> Spec:
        shown = spec.with_(
            conditions=tuple(item for item in spec.conditions if item.name not in self.hidden),
            event=tuple(item for item in spec.event if item.name not in self.hidden),
            prior=tuple(item for item in spec.prior if item.name not in self.hidden),
        )
        return bagged(shown, len(self.fractions))

    def _part(self, name: str) -> BaggedPart:
        part = self.of.part(name)
        origin = next(key for key, item in self.of.sources.items() if item is part.source)
        counts = [self.of.format.header(path).n for path in self.of.found.parts[origin]]
        if len(counts) != len(self.fractions):
            raise UserError(
                f"each file of {self.of.native_spec.name} is a bag with a fraction of its own: there are "
                f"{len(counts)} {origin} files and {len(self.fractions)} of data.fractions"
            )
        edges = torch.tensor(list(accumulate(counts)))
        return BaggedPart(part, edges, torch.tensor(self.fractions)).mixed()


class BaggedPart(Part):
    """A part whose events carry their bags.

    Args:
        part: Events as the model sees them.
        edges: Number of the first event behind each bag ``(K,)``, int64.
        fractions: Stated fraction of each ``(K,)``.
    """

    def __init__(self, part: Part, edges: Tensor, fractions: Tensor) -> None:
        super().__init__(part.source, part.index)
        self.part, self.edges, self.fractions = part, edges, fractions

    @property
    def bag(self) -> Tensor:
        """Number of the bag of each event, int64 ``(n,)``."""
        return torch.bucketize(self.index, self.edges, right=True)

    def __getitem__(self, positions: Sequence[int]) -> Batch:
        rows = torch.as_tensor(positions, dtype=torch.long)
        bag = torch.bucketize(self.index[rows], self.edges, right=True)
        return with_bag(self.part[positions], bag, self.fractions[bag])

    def some(self, positions: Tensor) -> BaggedPart:
        return BaggedPart(self.part.some(positions), self.edges, self.fractions)

    def mixed(self) -> BaggedPart:
        """The same events with the bags evenly spread."""
        bag = self.bag
        place = torch.zeros(len(bag), dtype=torch.float64)
        for number in range(len(self.edges)):
            own = bag == number
            count = int(own.sum())
            place[own] = (torch.arange(count).double() + 0.5) / max(1, count)
        return self.some(place.argsort(stable=True))
