"""A CSV table of figures by step that grows at its end.

Training logs for as long as it runs, so that the work of one entry must not grow with the number of
those before it: a row is added behind the others, and the last one is written again where figures of
its step come one after the other. The file is rewritten as a whole only where a column is new or a
figure belongs to an earlier row, both of which are rare. Only the last row is kept in memory.

A program that is killed leaves whole rows and at most one half-written last row, which a run that goes
on drops.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.files import cannot_write, harmless, write_table

STEP = "step"
"""First column."""

Row = dict[str, float]


class GrowingTable:
    """Rows in rising order of their step, one per step; empty where a figure was not logged.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: tuple[str, ...] = ()
        self._step, self._row = -1, Row()  # the last row
        self._start = self._end = 0  # bytes of the file between which it lies
        self._closed: list[tuple[int, Row]] = []  # rows before it that are not in the file
        self._late: dict[int, Row] = {}  # figures of rows before those
        self._changed = False

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add figures to the row of a step; nothing is written yet."""
        values = {str(harmless(name)): value for name, value in values.items() if name != STEP}
        if step < self._step:
            self._late.setdefault(step, {}).update(values)
        elif step == self._step:
            self._row.update(values)
        else:
            if self._changed:
                self._closed.append((self._step, self._row))
            else:
                self._start = self._end
            self._step, self._row = step, values
        self._changed = True

    def write(self) -> None:
        """Bring the file up to date.

        Raises:
            UserError: If the disk is full or the file cannot be written.
        """
        if not self._changed:
            return
        rows = [*self._closed, (self._step, self._row)]
        changed = [*(row for _, row in rows), *self._late.values()]
        new = {name for row in changed for name in row} - set(self._names)
        if new or self._late or not self.path.is_file():
            self._rewrite(tuple(sorted({*self._names, *new})))
        else:
            self._append(rows)
        self._closed, self._late, self._changed = [], {}, False

    def resume(self, step: int) -> None:
        """Take over the rows of an earlier run up to a step; later ones, and a half-written last one, go.

        Raises:
            UserError: If the file is no such table.
        """
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            header = file.readline()
            if not header.endswith(b"\n"):
                return  # nothing but a half-written head: the first entry writes a new one
            self._names = self._head(header)
            self._start = self._end = file.tell()
            for number, line in enumerate(file, start=2):
                if not line.endswith(b"\n"):
                    break
                found, row = self._parsed(line, number)
                if found > step:
                    break
                if found <= self._step:
                    raise self._damaged(number, f"step {found} comes after step {self._step}")
                self._step, self._row = found, row
                self._start, self._end = self._end, self._end + len(line)
        try:
            os.truncate(self.path, self._end)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _append(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Write rows from the place of the last one on, in one piece."""
        parts = [self._encoded(step, row) for step, row in rows]
        rest = memoryview(b"".join(parts))
        self._end = self._start + len(rest)
        try:
            with self.path.open("r+b", buffering=0) as file:
                file.seek(self._start)
                while rest:
                    rest = rest[file.write(rest) :]
                file.truncate()
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, self._start)  # whole rows alone stay
            raise cannot_write(self.path, error) from error
        self._start = self._end - len(parts[-1])

    def _rewrite(self, names: tuple[str, ...]) -> None:
        """Write the whole table anew, row by row, with columns ``names``."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = ({STEP: step, **row} for step, row in self._all())
        write_table(self.path, [STEP, *names], rows)
        self._names = names
        self._end = self.path.stat().st_size
        self._start = self._end - len(self._encoded(self._step, self._row))

    def _all(self) -> Iterator[tuple[int, Row]]:
        """Every row, those of the file first, with figures that came late in their places."""
        late = dict(self._late)
        for step, row in self._kept():
            yield from sorted((key, late.pop(key)) for key in list(late) if key < step)
            yield step, {**row, **late.pop(step, {})}

    def _kept(self) -> Iterator[tuple[int, Row]]:
        if self._names and self.path.is_file():
            with self.path.open("rb") as file:
                file.readline()
                number = 2
                while file.tell() < self._start:
                    yield self._parsed(file.readline(), number)
                    number += 1
        yield from self._closed
        yield self._step, self._row

    def _encoded(self, step: int, row: Row) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerow([step, *(row.get(name, "") for name in self._names)])
        return text.getvalue().encode()

    def _head(self, line: bytes) -> tuple[str, ...]:
        head = next(csv.reader([line.decode(errors="replace")]), [])
        if not head or head[0] != STEP or len(set(head)) < len(head):
            raise self._damaged(1, f"a head that begins with {STEP!r} is expected")
        return tuple(head[1:])

    def _parsed(self, line: bytes, number: int) -> tuple[int, Row]:
        """Step and figures of a line of the file."""
        cells = line.decode(errors="replace").strip().split(",")
        if len(cells) != len(self._names) + 1:
            wanted = f"{len(self._names) + 1} cells are expected"
            raise self._damaged(number, f"{wanted}, it has {len(cells)}")
        try:
            values = zip(self._names, cells[1:], strict=True)
            return int(cells[0]), {name: float(value) for name, value in values if value}
        except ValueError as error:
            raise self._damaged(number, str(error)) from error

    def _damaged(self, line: int, reason: str) -> UserError:
        return UserError(
            f"{self.path} is no table of figures (line {line}: {reason}): move it away, and the run goes "
            "on with a new one"
        )
