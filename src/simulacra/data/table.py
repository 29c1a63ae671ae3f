"""Tables of quantities per event, whose columns and files come from the configuration.

Files are HDF5, CSV or Parquet, as their suffix says. Where no test file is named, a fifth of the rows, by a
fixed permutation, is the test part; where no validation file is named, a fraction of the training part is
kept, so that every run and every seed sees the same parts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.data.base import EventDataModule
from simulacra.data.cache import cache_root
from simulacra.data.files import Found, Published, content_hash, locate
from simulacra.data.source import MemorySource, Part
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from simulacra.physics.table import TableObservables

log = logging.getLogger(__name__)

TEST_FRACTION = 0.2
_SPLIT_SEED = 2024
_EMBEDDED = Published(
    ["zjets_train.h5"], ["zjets_test.h5"], "which come with the package: data.root=null"
)


class TableData(EventDataModule):
    """See the module's docstring.

    Args:
        title: Name of the data set in its spec, in messages and checkpoints.
        columns: By name of a quantity, where it stands in the files and what it is: see
            :func:`~simulacra.formats.table_columns.columns_of`.
        root: Folder below which ``files`` are named, or None.
        files: Lists ``train``, ``val`` and ``test`` of files; with none, the embedded sample is used.
        batch_size: Rows per training batch and rank.
        eval_batch_size: Rows per batch in validation and test.
        workers: Loader processes per rank; 0 loads in the training process.
        seed: Seed of the order of rows.
        validation: Fraction of the training part that is kept for validation where no file is named.
        limit: Use at most this many training rows (None: all).
    """

    def __init__(
        self,
        title: str,
        columns: Mapping[str, Mapping[str, Any] | None],
        root: str | None = None,
        files: Mapping[str, Sequence[str] | None] | None = None,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        workers: int = 0,
        seed: int = 0,
        validation: float = 0.1,
        limit: int | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, workers, seed, validation, limit)
        self._format = TableFiles(title, columns_of(columns))
        self.root, self.files = root, files

    @property
    def native_spec(self) -> Spec:
        """What the files promise."""
        return self._format.spec

    @property
    def format(self) -> TableFiles:
        """Reader and writer of all kinds of files."""
        return self._format

    @property
    def observables(self) -> TableObservables:
        """All columns."""
        return TableObservables(self.native_spec)

    @cached_property
    def found(self) -> Found:
        """The files that are used."""
        parts = ("train", "val", "test")
        return locate(self.native_spec.name, _EMBEDDED, self.root, self.files, "table", parts)

    @property
    def provenance(self) -> dict[str, str]:
        """Files by name with their SHA-256."""
        kind = "embedded sample" if self.found.embedded else "files"
        parts = {"train": self.found.train, "val": self.found.val, "test": self.found.test}
        hashes = {
            f"{part}/{path.name}": content_hash(path, cache_root() / "hashes")
            for part, paths in parts.items()
            for path in paths
        }
        return {"data": self.native_spec.name, "source": kind, **hashes}

    def load(self) -> Mapping[str, Part]:
        """Parts ``train``, ``val`` and ``test``."""
        train = self._source(self.found.train)
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        if self.found.test:
            test = _all(self._source(self.found.test))
        else:
            kept, order = _cut(order, TEST_FRACTION)
            test = Part(train, kept)
        if self.found.val:
            val = _all(self._source(self.found.val))
        else:
            kept, order = _cut(order, self.validation)
            val = Part(train, kept)
        parts = {"train": Part(train, order), "val": val, "test": test}
        empty = [name for name, part in parts.items() if not len(part)]
        if empty and (empty != ["val"] or self.validation):
            raise UserError(
                f"the part {empty[0]} of {self.native_spec.name} holds no rows: its files hold too few"
            )
        self._announce(sum(map(len, parts.values())))
        return parts

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy files of ``n`` rows under the names of the embedded sample, to be found with
        ``root=folder``.
        """
        for number, name in enumerate((*_EMBEDDED.train, *_EMBEDDED.test)):
            self.format.toy(Path(folder) / name, n, seed + number)

    def _source(self, paths: Sequence[Path]) -> MemorySource:
        return MemorySource(
            Batch.cat([batch for path in paths for batch in self.format.iterate(path)])
        )

    @rank_zero_only
    def _announce(self, rows: int) -> None:
        name = self.native_spec.name
        if self.found.embedded:
            log.warning(
                "%s: using the embedded sample of %s Z + jet events by Pythia, particle level; name your "
                "own tables with data.files.train=[...] and their columns in data.columns",
                name,
                f"{rows:,}",
            )
        if not self.found.test:
            log.info(
                "%s has no test file: a fifth of the rows, by a fixed permutation, is the test part",
                name,
            )


def _all(source: MemorySource) -> Part:
    return Part(source, torch.arange(len(source)))


def _cut(order: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """The first ``fraction`` of some indices, sorted, and the rest."""
    cut = round(fraction * len(order))
    return order[:cut].sort().values, order[cut:]
