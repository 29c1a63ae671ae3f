"""What every public file format offers: check, read, stream, write, and a toy file.

A format is the pair of a :class:`~simulacra.core.Spec` and the layout of a file. Reading gives
:class:`~simulacra.core.Batch` in physical units and writing takes them, with
``read(write(batch)) == batch`` bit for bit. Nothing reads a whole file at once:
:meth:`Format.check` streams, so that a file of any size can be verified.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from simulacra.core import Batch, FormatError, Spec, UserError
from simulacra.core.constructors import role
from simulacra.core.files import beside, cannot_write, put
from simulacra.core.plausible import Plausibility
from simulacra.core.signals import check, held
from simulacra.formats.cleaning import Cleaning

TIME = "simulacra_ms_per_gev"
"""Attribute of a file of simulated events: CPU time of the simulation [ms/GeV]; its error has ``_error``."""
CHUNK_BYTES = 32 * 2**20  # of dense float32 events that are held at once while streaming


@dataclass(frozen=True)
class FileInfo:
    """What a file holds.

    Args:
        path: The file.
        n: Number of events.
        shapes: Shape of each key in the file.
        ranges: Smallest and largest value of each condition and event field that is a number [the
            field's unit].
        remarks: What is not plausible about its events, one sentence per finding; nothing where they were
            not read.
    """

    path: Path
    n: int
    shapes: dict[str, tuple[int, ...]]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        keys = ", ".join(f"{key} {shape}" for key, shape in self.shapes.items())
        ranges = "".join(
            f"; {name} {low:.6g} to {high:.6g}" for name, (low, high) in self.ranges.items()
        )
        return f"{self.path}: {self.n:,} events; {keys}{ranges}"


class Writer(ABC):
    """Streams events into a file that appears whole or not at all.

    Used as a context manager: events go to a temporary file beside the target, which replaces the
    target when the block ends. When it ends by an exception (a full disk, Ctrl-C), the temporary
    file is removed and an earlier target stays. Signals wait while a library writes, since an exception in
    the middle of it would leave a file that cannot be closed.

    Args:
        path: Where the file shall be.
    """

    takes_weights: ClassVar[bool] = False
    """Whether the file can hold event weights."""
    weighted: bool | None = None
    """Whether the events of the file have weights; None before the first of them."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.temporary = beside(self.path)
        self.attributes: dict[str, str | int | float] = {}

    def note(self, attributes: Mapping[str, str | int | float]) -> None:
        """Add to what the file says of where its events come from, in formats that say so at its end (not CSV
        files and images).
        """
        self.attributes |= attributes

    def append(self, batch: Batch) -> None:
        """Write events behind those that are there.

        Raises:
            UserError: If only some batches of the file have weights, or its format takes none.
        """
        weighted = batch.weight is not None
        if weighted and not self.takes_weights:
            raise UserError(
                f"cannot write {self.path}: its format takes no weights, and the events have some"
            )
        if self.weighted not in (None, weighted):
            raise UserError(
                f"cannot write {self.path}: some of its events have weights and others have none"
            )
        self.weighted = weighted
        check()
        with held():
            self._append(batch)

    @abstractmethod
    def _append(self, batch: Batch) -> None:
        """Write events that the file can hold."""

    @abstractmethod
    def _open(self) -> None:
        """Start the temporary file."""

    @abstractmethod
    def _close(self) -> None:
        """Finish the temporary file, so that all of it is on disk."""

    @abstractmethod
    def _discard(self) -> None:
        """Close what is open; what was written is removed afterwards."""

    def __enter__(self) -> Self:
        if not self.path.parent.is_dir():
            raise UserError(
                f"cannot write {self.path}: the folder {self.path.parent} does not exist"
            )
        opened = False
        try:
            with held():
                self._open()
            opened = True
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            if not opened:
                self._abandon()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        finished = False
        with held():
            try:
                if error is None:
                    self._finish()
                    finished = True
            except OSError as failure:
                raise cannot_write(self.path, failure) from failure
            finally:
                if not finished:
                    self._abandon()

    def _finish(self) -> None:
        """Let the file appear."""
        self._close()
        put(self.temporary, self.path)

    def _abandon(self) -> None:
        """Leave nothing behind, whatever state the file is in."""
        try:
            # a full disk also stops the last flush, and what was not opened cannot be closed
            with contextlib.suppress(OSError, RuntimeError, AttributeError):
                self._discard()
        finally:
            if self.temporary.is_dir():
                shutil.rmtree(self.temporary, ignore_errors=True)
            else:
                self.temporary.unlink(missing_ok=True)


@role
class Format(ABC):
    """One public file format, see the module's docstring.

    Args:
        spec: What the files promise.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".hdf5", ".h5", ".hdf")
    """Ends of the names of its files; empty where any will do."""
    cleaning: Cleaning | None = None
    """What reading changes in the raw output of a generator; None: nothing, it is refused."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def lenient(self, cleaning: Cleaning) -> Self:
        """The same format, whose reading cuts the raw output of a generator and counts what it cut."""
        other = copy.copy(self)
        other.cleaning = cleaning
        return other

    def renamed(self, name: str) -> Self:
        """The same format for a data set of another name."""
        other = copy.copy(self)
        other.spec = self.spec.with_(name=name)
        return other

    def files(self, path: Path | str) -> list[Path]:
        """The files that a writer may leave for a path."""
        return [Path(path)]

    @abstractmethod
    def header(self, path: Path | str) -> FileInfo:
        """Check keys, shapes, lengths, units and the per-event fields, without reading the events.

        Raises:
            FormatError: In one sentence that names file, key, what was found and what was expected.
        """

    @abstractmethod
    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        """Events ``start`` to ``stop`` (to the end if None), float32, values checked.

        Raises:
            FormatError: As :meth:`header`, or for NaN or negative values.
        """

    @abstractmethod
    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        """A writer of this format; ``attributes``, stored in the file, say where events come from."""

    @abstractmethod
    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events of the right look, for tests: no simulation stands behind them."""

    def simulated(self, path: Path | str) -> tuple[float, float] | None:
        """CPU time that the simulation took and its error [ms/GeV], where a file says so."""
        return None

    @property
    def chunk(self) -> int:
        """Events that are streamed at once."""
        return max(1, min(8192, CHUNK_BYTES // (4 * self.spec.n_voxels)))

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        """All events in file order, ``chunk`` at a time."""
        n, step = self.header(path).n, chunk or self.chunk
        for start in range(0, n, step):
            yield self.read(path, start, min(n, start + step))

    def check(self, path: Path | str) -> FileInfo:
        """Check the whole file, every value of it, in a stream, and remark on what is not plausible.

        Raises:
            FormatError: As :meth:`read`.
        """
        info, look = self.header(path), Plausibility(self.spec)
        for batch in self.iterate(path):
            try:
                self.spec.validate(batch)
            except UserError as error:
                raise FormatError(f"{path}: {error}") from error
            look.add(batch)
        return replace(info, remarks=tuple(look.remarks().values()))

    def write(
        self,
        path: Path | str,
        batch: Batch,
        attributes: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Write one batch as a file."""
        with self.writer(path, attributes) as writer:
            writer.append(batch)
