"""Tables in Parquet, one column per quantity, of numbers or of text; other columns of a file do not matter.

They need pyarrow, the extra ``[table]``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core import Batch, FormatError, UserError
from simulacra.core.files import cannot_write
from simulacra.formats.base import Writer
from simulacra.formats.opening import first_line, guard, look, other_kind
from simulacra.formats.table import Cells, TableFormat
from simulacra.formats.table_columns import Column

_RAISED = (ValueError, LookupError, TypeError, RuntimeError, ArithmeticError)
"""What pyarrow raises where bytes are not what they should be, besides its own kind."""


class TableParquet(TableFormat):
    """See the module's docstring."""

    def has(self, path: Path, column: Column) -> bool:
        with _open(path) as file:
            return column.title in file.schema_arrow.names

    def measure(
        self, path: Path, columns: Sequence[Column]
    ) -> tuple[int, dict[str, tuple[int, ...]]]:
        types = _pyarrow().types
        with _open(path) as file:
            schema, n = file.schema_arrow, file.metadata.num_rows
            for column in columns:
                if schema.names.count(column.title) != 1:
                    problem = "is there twice" if column.title in schema.names else "is missing"
                    raise FormatError(
                        f"{path}: column {column.title!r} {problem}, found {schema.names}"
                    )
                kind = schema.field(column.title).type
                number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
                text = (
                    types.is_string(kind)
                    or types.is_large_string(kind)
                    or types.is_dictionary(kind)
                )
                if not number and not (text and column.field.classes):
                    raise FormatError(
                        f"{path}: column {column.title!r} is of type {kind}, expected numbers"
                    )
        return n, {column.title: (n,) for column in columns}

    def cells(
        self, path: Path, start: int, stop: int, step: int, columns: Sequence[Column]
    ) -> Iterator[Cells]:
        with _open(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            ends = np.cumsum(sizes)
            groups = [i for i, end in enumerate(ends) if end > start and end - sizes[i] < stop]
            at = int(ends[groups[0]] - sizes[groups[0]]) if groups else stop
            titles = [column.title for column in columns]
            for batch in file.iter_batches(step, row_groups=groups, columns=titles):
                first, last = max(start - at, 0), min(stop - at, len(batch))
                at += len(batch)
                if first < last:
                    part = batch.slice(first, last - first)
                    yield {c.name: _array(part.column(c.title)) for c in columns}
            if at < stop:
                raise FormatError(
                    f"{path}: the file holds {at:,} of the {stop:,} rows that it says it has: it is damaged, "
                    "get it again"
                )

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        return ParquetWriter(path, self, attributes or {})


class ParquetWriter(Writer):
    """Streams rows, one row group a batch.

    Args:
        path: Where the file shall be.
        format: Its columns.
        attributes: Provenance, stored in the metadata of the schema; what is noted, in those of the file.
    """

    takes_weights = True

    def __init__(
        self, path: Path | str, format: TableFormat, attributes: Mapping[str, str | int | float]
    ) -> None:
        super().__init__(path)
        self.format, self.arrow = format, _pyarrow()
        self.origin = {key: str(value) for key, value in attributes.items()}

    def _append(self, batch: Batch) -> None:
        cells = self.format.encode_cells(batch)
        try:
            if len(cells) > len(self.schema):  # nothing was written yet
                self.file.close()
                self._start(True)
            columns = [self.arrow.array(cells[column.name]) for column in self.columns]
            self.file.write_table(self.arrow.Table.from_arrays(columns, schema=self.schema))
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _open(self) -> None:
        self._start(False)

    def _start(self, weighted: bool) -> None:
        """A file without rows, of events that may have weights."""
        self.columns = self.format.written(weighted)
        fields = [
            (column.title, self.arrow.float32() if column.numeric else self.arrow.string())
            for column in self.columns
        ]
        self.schema = self.arrow.schema(fields, metadata=self.origin)
        self.file = self.arrow.parquet.ParquetWriter(
            self.temporary, self.schema, write_page_checksum=True
        )

    def _close(self) -> None:
        self.file.add_key_value_metadata({k: str(v) for k, v in self.attributes.items()})
        self.file.close()
        with self.temporary.open("rb") as file:
            os.fsync(file.fileno())

    def _discard(self) -> None:
        self.file.close()


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("Parquet files need pyarrow: install simulacra[table]") from error
    return pyarrow


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    arrow = _pyarrow()
    start = look(path, "Parquet")
    if not start.startswith((b"PAR1", b"PARE")):
        raise other_kind(path, "Parquet", start)
    kinds = (arrow.ArrowException, *_RAISED)
    with (
        guard(path, kinds, _damaged, "pyarrow"),
        arrow.parquet.ParquetFile(path, page_checksum_verification=True) as file,
    ):
        yield file


def _damaged(error: Exception) -> str:
    if "codec" in str(error).lower():
        return f"it is compressed in a way that pyarrow here does not know ({first_line(error)})"
    return f"not a Parquet file, or a damaged one, get it again ({first_line(error)})"


def _array(column: Any) -> np.ndarray[Any, Any]:
    """Cells of a column; what is empty is NaN among numbers and ``None`` among text."""
    found: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return found
