"""Tables of any kind of file, which its suffix tells: HDF5, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from simulacra.core import Batch, FormatError, Particle, Resonance
from simulacra.formats.base import FileInfo, Format, Writer
from simulacra.formats.table import TableFormat
from simulacra.formats.table_columns import Column, table_spec
from simulacra.formats.table_csv import TableCsv
from simulacra.formats.table_hdf5 import TableHdf5
from simulacra.formats.table_parquet import TableParquet

SUFFIXES: Mapping[str, type[TableFormat]] = {
    ".h5": TableHdf5,
    ".hdf5": TableHdf5,
    ".csv": TableCsv,
    ".parquet": TableParquet,
}


class TableFiles(Format):
    """Reader and writer of tables; files of all kinds have the same columns.

    Args:
        name: Name of the data set.
        columns: The columns.
        particles: Particles whose four-momenta are among them.
        resonances: What these come from.
    """

    suffixes = tuple(SUFFIXES)

    def __init__(
        self,
        name: str,
        columns: Sequence[Column],
        particles: Sequence[Particle] = (),
        resonances: Sequence[Resonance] = (),
    ) -> None:
        super().__init__(table_spec(name, columns, particles, resonances))
        self.kinds = {suffix: kind(self.spec, columns) for suffix, kind in SUFFIXES.items()}

    def of(self, path: Path | str) -> TableFormat:
        """The format of a file.

        Raises:
            FormatError: If its suffix is unknown.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in self.kinds:
            raise FormatError(f"{path}: tables are files of {', '.join(SUFFIXES)}, not {suffix!r}")
        return self.kinds[suffix]

    def files(self, path: Path | str) -> list[Path]:
        return self.of(path).files(path)

    def events(self, rows: Mapping[str, Tensor]) -> Batch:
        """Events from the values ``(n,)`` of all columns, of classes their numbers from 0."""
        return next(iter(self.kinds.values())).events(rows)

    def header(self, path: Path | str) -> FileInfo:
        return self.of(path).header(path)

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        return self.of(path).read(path, start, stop)

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        return self.of(path).iterate(path, chunk)

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        return self.of(path).writer(path, attributes)

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        return self.of(path).toy(path, n, seed)
