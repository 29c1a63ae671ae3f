"""Tables in HDF5: a column is a data set ``(N,)`` or ``(N, 1)``, or one column of a data set ``(N, k)``.

It may stand at any depth below groups, and other data sets of the file do not matter.

Columns of a data set that no quantity stands in are NaN in files written here. Cells are numbers, so classes
need numbers as names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from simulacra.core import Batch, FormatError
from simulacra.formats.hdf5 import Array, Hdf5Writer, open_hdf5
from simulacra.formats.hdf5_data import dataset, present, stored
from simulacra.formats.table import Cells, TableFormat
from simulacra.formats.table_columns import Column

_KINDS = "fiub"  # a column of a table may be true or false


class TableHdf5(TableFormat):
    """See the module's docstring."""

    def has(self, path: Path, column: Column) -> bool:
        with open_hdf5(path) as file:
            return present(file, path, column.key)

    def measure(
        self, path: Path, columns: Sequence[Column]
    ) -> tuple[int, dict[str, tuple[int, ...]]]:
        with open_hdf5(path) as file:
            shapes = {column.key: _shape(file, path, column) for column in columns}
        counts = {key: shape[0] for key, shape in shapes.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} in {key!r}" for key, count in counts.items())
            raise FormatError(
                f"{path}: the keys differ in length ({found}), expected one entry per event in each"
            )
        return next(iter(counts.values())), shapes

    def cells(
        self, path: Path, start: int, stop: int, step: int, columns: Sequence[Column]
    ) -> Iterator[Cells]:
        with open_hdf5(path) as file:
            for first in range(start, stop, step):
                last = min(first + step, stop)
                read = {
                    key: _rows(file, path, key, first, last) for key in {c.key for c in columns}
                }
                yield {column.name: read[column.key][:, column.index or 0] for column in columns}

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        return TableHdf5Writer(path, self, attributes or {})

    def columns(self) -> dict[str, tuple[int, ...]]:
        """Data sets and the shape of one event in each.

        Raises:
            FormatError: If a column holds text.
        """
        text = [column.name for column in self.table if not column.numeric]
        if text:
            raise FormatError(
                f"an HDF5 table holds numbers, but the classes of {', '.join(text)} have names: "
                "write CSV or Parquet"
            )
        most: dict[str, int] = {}
        for column in self.table:
            index = -1 if column.index is None else column.index
            most[column.key] = max(index, most.get(column.key, -1))
        return {key: () if index < 0 else (index + 1,) for key, index in most.items()}

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Data sets of some events."""
        cells = self.encode_cells(batch)
        arrays = {
            key: np.full((len(batch), *shape), np.nan, np.float32)
            for key, shape in self.columns().items()
        }
        for column in self.table:
            place = ... if column.index is None else (slice(None), column.index)
            arrays[column.key][place] = cells[column.name]
        return arrays


class TableHdf5Writer(Hdf5Writer):
    """Streams rows, their weights in the column of weights if it is named, and nowhere else."""

    format: TableHdf5

    def _append(self, batch: Batch) -> None:
        """Write rows behind those that are there."""
        column = self.format.weight
        if column is not None:
            event = {**batch.event, column.name: batch.weight_or_one()[:, None]}
            batch = replace(batch, event=event, weight=None)
        super()._append(batch)


def _shape(file: h5py.File, path: Path, column: Column) -> tuple[int, ...]:
    found = tuple(dataset(file, path, column.key, kinds=_KINDS).shape)
    if column.index is None and (len(found) == 1 or (len(found) == 2 and found[1] == 1)):
        return found
    if column.index is not None and len(found) == 2 and 0 <= column.index < found[1]:
        return found
    wanted = (
        "('N',), or the index of one of its columns"
        if column.index is None
        else f"('N', k) with a column {column.index}"
    )
    raise FormatError(f"{path}: key {column.key!r} has shape {found}, expected {wanted}")


def _rows(file: h5py.File, path: Path, key: str, start: int, stop: int) -> NDArray[Any]:
    """Rows of a data set ``(n, k)``."""
    data = dataset(file, path, key, kinds=_KINDS)
    return stored(data, path, key, start, stop).reshape(stop - start, -1)
