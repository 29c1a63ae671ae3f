"""Tables: one row per event, one named column per quantity, in HDF5, CSV or Parquet.

The class of this module speaks of columns alone (:mod:`simulacra.formats.table_columns`), and a class for
each kind of file (:mod:`simulacra.formats.table_hdf5`, :mod:`~simulacra.formats.table_csv`,
:mod:`~simulacra.formats.table_parquet`) fetches and stores their cells.

Event weights stand in the column with the role ``weight``; a table without one has them under ``weight``, in
files that have some.

Values must be finite, whole where the column is one of whole numbers, and within the bounds of the column
unless it is periodic. A column of classes holds their names, which may be numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, Spec, UserError, draws
from simulacra.formats.base import FileInfo, Format
from simulacra.formats.hdf5_writer import WEIGHT
from simulacra.formats.table_columns import Column

UNNAMED = Column(Field(WEIGHT, low=0.0, role="weight"), WEIGHT)
"""The column of event weights where the table names none."""

Cells = dict[str, NDArray[Any]]
"""Cells of some rows by name of the column, numbers or text."""


class TableFormat(Format):
    """Reader and writer of one kind of file.

    Args:
        spec: What the files promise.
        table: All columns that are named, weights included.

    Attributes:
        weight: The column of event weights, which all files have, or None.
        unnamed: That of event weights which a file may have, or None where the table names one, or has
            something else in its place.
    """

    def __init__(self, spec: Spec, table: Sequence[Column]) -> None:
        super().__init__(spec)
        self.table = tuple(table)
        self.weight = next((column for column in self.table if column.weighs), None)
        taken = self.weight is not None or any(c.title == WEIGHT for c in self.table)
        self.unnamed = None if taken else UNNAMED

    @abstractmethod
    def has(self, path: Path, column: Column) -> bool:
        """Whether a file has a column."""

    @abstractmethod
    def measure(
        self, path: Path, columns: Sequence[Column]
    ) -> tuple[int, dict[str, tuple[int, ...]]]:
        """Number of rows and shape of each key, which are checked, as far as no cell need be read."""

    @abstractmethod
    def cells(
        self, path: Path, start: int, stop: int, step: int, columns: Sequence[Column]
    ) -> Iterator[Cells]:
        """Cells of the rows from ``start`` to ``stop``, at most ``step`` at a time, in order."""

    def header(self, path: Path | str) -> FileInfo:
        """Check keys, shapes and the columns that are conditions or event fields."""
        path = Path(path)
        n, shapes = self._size(path, self.columns_of(path))
        chosen = [
            c for c in self.table if c.use != "feature" and not c.field.classes and not c.weighs
        ]
        ranges: dict[str, tuple[float, float]] = {}
        start = 0
        for part in self.cells(path, 0, n, self.chunk, chosen) if chosen else ():
            for column in chosen:
                values = self._values(column, part[column.name], path, start)
                low, high = ranges.get(column.name, (np.inf, -np.inf))
                ranges[column.name] = min(low, float(values.min())), max(high, float(values.max()))
            start += len(part[chosen[0].name])
        return FileInfo(path, n, shapes, ranges)

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        """Rows ``start`` to ``stop``, float32, values checked."""
        path = Path(path)
        columns = self.columns_of(path)
        n, _ = self._size(path, columns)
        end = n if stop is None else min(stop, n)
        parts = list(self._batches(path, start, end, self.chunk, columns))
        names = [column.name for column in columns]
        return Batch.cat(parts) if parts else self.decode(dict.fromkeys(names, np.zeros(0)), path)

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        """All rows in file order, ``chunk`` at a time; the file is opened once."""
        path = Path(path)
        columns = self.columns_of(path)
        n, _ = self._size(path, columns)
        yield from self._batches(path, 0, n, chunk or self.chunk, columns)

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` random rows."""
        self.write(path, self.toy_rows(n, seed), {"generator": "toy"})
        return self.header(path)

    def decode(self, cells: Cells, path: Path, start: int = 0) -> Batch:
        """Events from the cells of all columns, ``start`` is the row of the first; with weights where these
        are among them.
        """
        known = self.table if self.unnamed is None else (*self.table, self.unnamed)
        found = {
            c.name: self._values(c, cells[c.name], path, start) for c in known if c.name in cells
        }
        return self.events({name: torch.from_numpy(values) for name, values in found.items()})

    def encode_cells(self, batch: Batch) -> Cells:
        """Inverse of :meth:`decode`: float32 or text ``(n,)`` by name of the column.

        Raises:
            UserError: If the events have weights, and something else stands in their place.
        """
        weighted = batch.weight is not None
        if weighted and self.weight is None and self.unnamed is None:
            raise UserError(
                f"the events have weights, but {self.spec.name} has no column with the role 'weight', and "
                f"another one called {WEIGHT!r}"
            )
        wanted = [field.name for field in (*self.spec.conditions, *self.spec.event)]
        rows = {name: value[:, 0] for name, value in batch.conditions(wanted).values.items()}
        rows |= {field.name: batch.x[:, i] for i, field in enumerate(self.spec.features)}
        columns = self.written(weighted)
        weight = next((column for column in columns if column.weighs), None)
        if weight is not None:
            own = batch.event.get(weight.name)  # where the writer knows no other weights
            rows[weight.name] = batch.weight_or_one() if own is None else own[:, 0]
        return {column.name: _stored(column, rows[column.name]) for column in columns}

    def written(self, weighted: bool) -> tuple[Column, ...]:
        """The columns of a file of events, which may have weights."""
        return (*self.table, self.unnamed) if weighted and self.unnamed else self.table

    def columns_of(self, path: Path) -> tuple[Column, ...]:
        """The columns of a file, that of event weights where it has one."""
        return self.written(self.unnamed is not None and self.has(path, self.unnamed))

    def toy_rows(self, n: int, seed: int) -> Batch:
        """Rows with correlated columns, and a few values on each lower bound; energies of particles are those
        of their momenta and masses.
        """
        generator = torch.Generator().manual_seed(seed)
        like = torch.zeros(n)
        common = draws.normal((n,), like, generator)
        rows = {}
        for column in self.table:
            own = 0.6 * common + 0.8 * draws.normal((n,), like, generator)
            rows[column.name] = _toy_values(column.field, own)
        names = [field.name for field in self.spec.features]
        for particle in self.spec.particles:
            energy, *space = (names[column] for column in particle.columns)
            square = torch.stack([rows[name].square() for name in space]).sum(0)
            rows[energy] = (square + (particle.mass or 0.0) ** 2).sqrt()
        return self.events(rows)

    def events(self, rows: Mapping[str, Tensor]) -> Batch:
        """Events from the values ``(n,)`` of all columns."""
        weight = self.weight or self.unnamed
        return Batch(
            torch.stack([rows[field.name] for field in self.spec.features], 1),
            _fields(self.spec.conditions, rows),
            _fields(self.spec.event, rows),
            weight=None if weight is None else rows.get(weight.name),
        )

    def _size(
        self, path: Path, columns: Sequence[Column]
    ) -> tuple[int, dict[str, tuple[int, ...]]]:
        n, shapes = self.measure(path, columns)
        if n == 0:
            raise FormatError(f"{path}: the file holds no events")
        return n, shapes

    def _batches(
        self, path: Path, start: int, stop: int, step: int, columns: Sequence[Column]
    ) -> Iterator[Batch]:
        for part in self.cells(path, start, stop, step, columns):
            batch = self.decode(part, path, start)
            yield batch
            start += len(batch)

    def _values(
        self, column: Column, cells: NDArray[Any], path: Path, start: int
    ) -> NDArray[np.float32]:
        """Checked numbers of a column, of one of classes their numbers from 0."""
        check = Check(path, column, start)
        if column.field.classes is not None:
            return check.classes(cells)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            values = check.numbers(cells).astype(np.float32)
        check.refuse(~np.isfinite(values), values, "finite numbers")
        if column.field.integer:
            check.refuse(values != np.round(values), values, "whole numbers")
        low, high = column.field.low, column.field.high
        if not column.field.periodic:
            if low is not None:
                check.refuse(values < np.float32(low), values, f"numbers at or above {low:g}")
            if high is not None:
                check.refuse(values > np.float32(high), values, f"numbers at or below {high:g}")
        return values


@dataclass(frozen=True)
class Check:
    """Says in one sentence what is wrong with a column.

    Args:
        path: The file.
        column: The column.
        start: Number of the first row.
    """

    path: Path
    column: Column
    start: int

    def refuse(self, wrong: NDArray[np.bool_], cells: NDArray[Any], expected: str) -> None:
        """Raise if there is a wrong cell.

        Raises:
            FormatError: It names the file, the column, the cell and what was expected.
        """
        if not wrong.any():
            return
        first = int(np.argmax(wrong))
        cell = cells[first]
        found = f"{cell:.6g}" if isinstance(cell, np.number) else repr(str(cell))
        unit = f" {self.column.field.unit}" if self.column.field.unit else ""
        raise FormatError(
            f"{self.path}: column {self.column.title!r} holds {found} in row {self.start + first}, "
            f"expected {expected}{unit}"
        )

    def numbers(self, cells: NDArray[Any]) -> NDArray[np.float64]:
        """Cells as numbers.

        Text is a number where every program reads the same one: no digits of other scripts, no ``1_000``.
        """
        if cells.dtype.kind in "US":
            odd = np.array(
                [not cell.isascii() or "_" in cell for cell in cells.astype(np.str_)], bool
            )
            self.refuse(odd, cells, "numbers")
        if cells.dtype.kind == "b" and not (self.column.field.integer or self.column.field.classes):
            self.refuse(np.ones(len(cells), bool), cells, "numbers, not true or false")
        try:
            return cells.astype(np.float64)
        except (ValueError, TypeError):
            wrong = np.array([not _is_number(cell) for cell in cells])
            self.refuse(wrong, cells, "numbers")
            raise

    def classes(self, cells: NDArray[Any]) -> NDArray[np.float32]:
        """Number of the class of each cell."""
        names = self.column.field.classes or ()
        if self.column.numeric:
            hit = self.numbers(cells)[:, None] == self.column.values()
        else:
            hit = np.char.strip(cells.astype(np.str_))[:, None] == np.array(names)
        self.refuse(~hit.any(1), cells, f"one of {', '.join(names)}")
        return hit.argmax(1).astype(np.float32)


def _is_number(cell: object) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]  # that is the question
    except (ValueError, TypeError):
        return False
    return True


def _fields(chosen: Sequence[Field], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values ``(n, 1)`` of fields, int64 of classes."""
    named = {field.name: rows[field.name][:, None] for field in chosen}
    return {
        field.name: named[field.name].long() if field.classes else named[field.name]
        for field in chosen
    }


def _stored(column: Column, values: Tensor) -> NDArray[Any]:
    """Cells of a column as a file holds them."""
    if column.field.classes is None:
        found: NDArray[Any] = values.detach().cpu().float().numpy()
        return found
    number = values.detach().cpu().long().numpy()
    if column.numeric:
        return column.values()[number].astype(np.float32)
    return np.array(column.field.classes)[number]


def _toy_values(field: Field, own: Tensor) -> Tensor:
    """Toy values of a field from standard normal ones."""
    share = torch.special.ndtr(own)
    if field.classes is not None:
        return (share * len(field.classes)).floor().clamp(0, len(field.classes) - 1)
    low, high = field.low, field.high
    if low is not None and high is not None:
        values = low + (high - low) * share
    elif low is not None:
        values = low * own.abs().exp() if field.log else low + own.exp()
    else:
        values = own if high is None else high - own.exp()
    if low is not None and not field.periodic:
        values = torch.where(share < 0.05, low, values)
    if field.integer:
        values = (10 * values).round() if low is None and high is None else values.round()
    low = low if low is None else float(np.float32(low))
    return values.clamp(low, high) if low is not None or high is not None else values
