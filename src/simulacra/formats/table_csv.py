"""Tables as text: a first line with the titles of the columns, then one line per event, separated by commas.

Further columns of a file do not matter, and empty lines are passed over. Numbers are written with nine
digits, from which a float32 comes back bit for bit. Text has no checksum: digits that were changed go unseen.
A title, or the name of a class, that begins with one of
``= + - @`` is refused: a spreadsheet would run it as a formula. The text has no place for where events come
from; HDF5 and Parquet have.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from simulacra.core import Batch, FormatError, UserError
from simulacra.core.files import cannot_write
from simulacra.formats.base import Writer
from simulacra.formats.opening import first_line, guard, is_packed, look, other_kind
from simulacra.formats.table import Cells, TableFormat
from simulacra.formats.table_columns import Column

log = logging.getLogger(__name__)

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet takes for a formula."""
_SEPARATORS = (";", "\t", "|", " ")
Rows = Iterator[list[str]]


class TableCsv(TableFormat):
    """See the module's docstring."""

    def has(self, path: Path, column: Column) -> bool:
        with self._open(path, ()) as (places, _):
            return column.title in places

    def measure(
        self, path: Path, columns: Sequence[Column]
    ) -> tuple[int, dict[str, tuple[int, ...]]]:
        with self._open(path, columns) as (_, rows):
            n = sum(1 for _ in rows)
        with guard(path), path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() not in b"\r\n":
                log.warning(
                    "%s: the end of its last line is missing: make sure that the file was not cut",
                    path,
                )
        return n, {column.title: (n,) for column in columns}

    def cells(
        self, path: Path, start: int, stop: int, step: int, columns: Sequence[Column]
    ) -> Iterator[Cells]:
        with self._open(path, columns) as (places, rows):
            wanted = itertools.islice(rows, start, stop)
            while chunk := list(itertools.islice(wanted, step)):
                yield {
                    column.name: np.array([row[places[column.title]] for row in chunk])
                    for column in columns
                }

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        return CsvWriter(path, self)

    @contextlib.contextmanager
    def _open(self, path: Path, columns: Sequence[Column]) -> Iterator[tuple[dict[str, int], Rows]]:
        """Place of each title, those of some columns checked, and the rows, checked as they pass."""
        start = look(path, "CSV", empty=True)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise FormatError(f"{path}: the text is in UTF-16, expected UTF-8: save it so")
        if is_packed(start):
            raise other_kind(path, "CSV", start)
        with (
            guard(path, (csv.Error, UnicodeDecodeError), _not_text),
            path.open(newline="", encoding="utf-8-sig") as file,
        ):
            lines = csv.reader(file, strict=True)
            titles = [title.strip() for title in next(lines, [])]
            for column in columns:
                _check_place(path, titles, column)
            places = {title: number for number, title in enumerate(titles)}
            yield places, _rows(path, lines, len(titles))


class CsvWriter(Writer):
    """Streams rows as text.

    Args:
        path: Where the file shall be.
        format: Its columns.

    Raises:
        UserError: If a title or the name of a class would be run as a formula.
    """

    takes_weights = True

    def __init__(self, path: Path | str, format: TableFormat) -> None:
        super().__init__(path)
        self.format, self.started = format, False
        labels = [name for c in format.table if not c.numeric for name in c.field.classes or ()]
        for cell in (*(column.title for column in format.table), *labels):
            if cell.startswith(FORMULA):
                raise UserError(
                    f"{cell!r} is not written to a CSV file, where a spreadsheet would run it as a "
                    "formula: give the column another key, or write HDF5 or Parquet"
                )

    def _append(self, batch: Batch) -> None:
        cells, weighted = self.format.encode_cells(batch), batch.weight is not None
        texts = [
            [f"{value:.9g}" for value in values.tolist()] if values.dtype.kind == "f" else values
            for values in (cells[column.name] for column in self.format.written(weighted))
        ]
        try:
            self._title(weighted)
            csv.writer(self.file, lineterminator="\n").writerows(zip(*texts, strict=True))
            self.file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _open(self) -> None:
        self.file = self.temporary.open("w", newline="", encoding="utf-8")

    def _title(self, weighted: bool) -> None:
        """Write the titles, once."""
        if not self.started:
            titles = [column.title for column in self.format.written(weighted)]
            csv.writer(self.file, lineterminator="\n").writerow(titles)
            self.started = True

    def _close(self) -> None:
        self._title(False)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def _discard(self) -> None:
        self.file.close()


def _not_text(error: Exception) -> str:
    return f"not a CSV file in UTF-8 ({first_line(error)})"


def _check_place(path: Path, titles: list[str], column: Column) -> None:
    count = titles.count(column.title)
    if count != 1:
        problem = "is missing" if not count else f"is there {count} times"
        other = next((mark for mark in _SEPARATORS if len(titles) == 1 and mark in titles[0]), None)
        hint = "" if other is None else f": cells are separated by {other!r}, expected commas"
        raise FormatError(f"{path}: column {column.title!r} {problem}, found {titles[:20]}{hint}")


def _rows(path: Path, lines: Rows, width: int) -> Rows:
    for number, row in enumerate(filter(None, lines)):
        if len(row) != width:
            raise FormatError(f"{path}: row {number} has {len(row)} cells, expected {width}")
        yield row
