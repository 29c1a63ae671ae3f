"""Data sets whose events are drawn from a toy rather than read, or are read from files of the same form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from simulacra.core import Batch, Spec, UserError
from simulacra.core.ranges import Count
from simulacra.data.base import Loading, View
from simulacra.data.file_data import FileDataModule, Files
from simulacra.data.files import Published
from simulacra.data.rows import Rows
from simulacra.data.source import FieldSource, MemorySource, Part
from simulacra.data.toy_samples import Toy
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from simulacra.physics.table import TableObservables


class Drawn(FileDataModule):
    """See the module's docstring: without folder and files, events are drawn.

    Attributes:
        toy: What events are drawn from; its ``repr`` tells all of its settings.
        events: Numbers of events of the parts ``train`` and ``test``.
    """

    toy: object
    events: Mapping[str, Count]

    def take(self, toy: object, events: Mapping[str, Count]) -> None:
        """Set what is drawn.

        Raises:
            UserError: If ``events`` names other parts.
        """
        if set(events) != {"train", "test"}:
            raise UserError(f"data.events has the numbers train and test, got {sorted(events)}")
        self.toy, self.events = toy, dict(events)

    @abstractmethod
    def sample_of(self, n: int, part: str) -> Batch:
        """``n`` events of a part as they are drawn, always the same."""

    @property
    def drawn(self) -> bool:
        """Whether events are drawn and not read."""
        return self.root is None and not any((self.files or {}).values())

    @cached_property
    def sources(self) -> dict[str, FieldSource]:
        """As of the base class, or drawn."""
        if not self.drawn:
            return super().sources
        return {part: MemorySource(self.sample_of(n, part)) for part, n in self.events.items()}

    @property
    def provenance(self) -> dict[str, str]:
        """As of the base class, or the settings of the toy."""
        if not self.drawn:
            return super().provenance
        counts = ", ".join(f"{n} {part}" for part, n in self.events.items())
        settings = f"{self.toy!r}, {counts}"
        return {"data": self.native_spec.name, "source": "toy", "settings": settings}

    @rank_zero_only
    def announce(self, parts: Mapping[str, Part]) -> None:
        """As of the base class; there is nothing to say of events that are drawn."""
        if not self.drawn:
            super().announce(parts)


class ToyData(Drawn, Rows):
    """Tables whose rows are drawn from a toy, or are read from files of the same columns.

    Args:
        title: Name of the data set in its spec, in messages and checkpoints.
        toy: What rows are drawn from.
        events: Numbers of rows of the parts ``train`` and ``test``.
        loading, root, files, view: As of :class:`~simulacra.data.file_data.FileDataModule`; without folder
            and files rows are drawn.

    Raises:
        UserError: If ``events`` names other parts.
    """

    toy: Toy

    def __init__(
        self,
        title: str,
        toy: Toy,
        events: Mapping[str, Count],
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        self._table = TableFiles(title, columns_of(toy.columns))
        public = Published(
            [f"{title}_train.h5"], [f"{title}_test.h5"], "rows of this toy in a file"
        )
        super().__init__(self._table, TableObservables, public, loading, root, files, view)
        self.take(toy, events)

    def sample_of(self, n: int, part: str) -> Batch:
        """See the base class."""
        rows = self.toy.sample(n, part)
        return self._table.events({name: values.float() for name, values in rows.items()})
