"""Formats that are HDF5 files: one or more arrays of equal length ``N``, one entry per event.

A subclass names its keys with the shape of one event each, and translates between arrays and a
:class:`~simulacra.core.Batch`; this module finds, in one sentence each, everything that can be
wrong with such a file. Each format may also hold event weights under ``weight``, ``(N,)``.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Batch, Field, FormatError
from simulacra.formats.base import FileInfo, Format
from simulacra.formats.hdf5_writer import WEIGHT, Hdf5Writer

__all__ = [
    "WEIGHT",
    "Array",
    "Hdf5Format",
    "Hdf5Writer",
    "check_finite",
    "check_not_negative",
    "open_hdf5",
    "read_weight",
    "tensor",
]

Array = NDArray[np.float32]
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@contextlib.contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Open for reading.

    Raises:
        FormatError: If the file is missing, empty, not HDF5, truncated or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    with path.open("rb") as stream:
        start = stream.read(len(_SIGNATURE))
    if not start:
        raise FormatError(f"{path}: the file is empty, expected HDF5")
    if start != _SIGNATURE and not h5py.is_hdf5(path):
        raise FormatError(f"{path}: not an HDF5 file, it starts with {start!r}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FormatError(
            f"{path}: the HDF5 file is truncated or damaged, get it again ({_first(error)})"
        ) from error
    try:
        yield file
    finally:
        file.close()


def check_finite(
    path: Path | str, key: str, values: NDArray[np.floating], start: int, noun: str = "event"
) -> None:
    """Refuse NaN and infinity; ``start`` is the number of the first event of ``values``."""
    finite = np.isfinite(values).reshape(len(values), -1)
    if not finite.all():
        first = start + int(np.argmin(finite.all(axis=1)))
        raise FormatError(
            f"{path}: key {key!r} holds NaN or infinite values, first in {noun} {first}"
        )


def check_not_negative(
    path: Path | str, key: str, values: NDArray[np.floating], start: int, unit: str
) -> None:
    """Refuse negative values."""
    if values.size and values.min() < 0:
        first = start + int(np.argmax((values < 0).reshape(len(values), -1).any(axis=1)))
        raise FormatError(
            f"{path}: key {key!r} holds negative values (down to {values.min():.6g}, "
            f"first in event {first}), expected {unit or 'numbers'} at or above 0"
        )


def check_energy_unit(path: Path | str, key: str, field: Field, low: float, high: float) -> None:
    """Refuse energies that miss the spec's range and would fit it after a change of unit by 1000."""
    if (
        field.low is None
        or field.high is None
        or (field.low * 0.99 <= low and high <= field.high * 1.01)
    ):
        return
    for factor, other in (
        (1e3, {"MeV": "GeV", "GeV": "TeV"}),
        (1e-3, {"MeV": "keV", "GeV": "MeV"}),
    ):
        if field.low * 0.99 <= low * factor and high * factor <= field.high * 1.01:
            raise FormatError(
                f"{path}: key {key!r} runs from {low:.6g} to {high:.6g}, but {field.unit} between "
                f"{field.low:g} and {field.high:g} are expected: it seems to be in "
                f"{other[field.unit]}, multiply it by {factor:g}"
            )


class Hdf5Format(Format):
    """A format whose file holds one array per key.

    Args:
        spec: What the files promise.
    """

    # keys of the values, which must not be negative
    nonnegative: tuple[str, ...] = ()

    @abstractmethod
    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each: of this file, or of a file to be written if None."""

    @abstractmethod
    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event: ``{field name: key}``, in a file as :meth:`columns`."""

    @abstractmethod
    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays ``(n, *shape)`` by key."""

    @abstractmethod
    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`, one array per key."""

    def header(self, path: Path | str) -> FileInfo:
        """Check keys, shapes, lengths, units and the per-event fields, without reading the events."""
        with open_hdf5(path) as file:
            return self._header(file, Path(path))

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        """Events ``start`` to ``stop``, float32, values checked."""
        with open_hdf5(path) as file:
            info = self._header(file, Path(path))
            return self._read(
                file, Path(path), start, info.n if stop is None else min(stop, info.n)
            )

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        """All events in file order, ``chunk`` at a time; the file is opened once."""
        with open_hdf5(path) as file:
            info, step = self._header(file, Path(path)), chunk or self.chunk
            for start in range(0, info.n, step):
                yield self._read(file, Path(path), start, min(info.n, start + step))

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        """A writer of this format."""
        return Hdf5Writer(path, self, attributes or {})

    def _header(self, file: h5py.File, path: Path) -> FileInfo:
        shapes = {
            key: _shape(file, path, key, shape, self.spec.name)
            for key, shape in self.columns(file).items()
        }
        counts = {key: shape[0] for key, shape in shapes.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} in {key!r}" for key, count in counts.items())
            raise FormatError(
                f"{path}: the keys differ in length ({found}), expected one entry per event in each"
            )
        n = next(iter(counts.values()))
        if n == 0:
            raise FormatError(f"{path}: the file holds no events")
        if read_weight(file, path, n, self.spec.signed) is not None:
            shapes[WEIGHT] = (n,)
        ranges = {}
        fields = self.fields(file)
        for name, key in fields.items():
            values = _numbers(file, path, key, 0, n).reshape(n, -1)
            check_finite(path, key, values, 0)
            ranges[name] = float(values.min()), float(values.max())
            self._check_energies(path, key, self.spec.field(name), *ranges[name])
        return FileInfo(path, n, shapes, ranges)

    def _check_energies(self, path: Path, key: str, field: Field, low: float, high: float) -> None:
        if field.unit in ("MeV", "GeV") and field in self.spec.conditions:
            if low <= 0:
                raise FormatError(
                    f"{path}: key {key!r} holds {low:.6g}, expected energies above 0 {field.unit}"
                )
            check_energy_unit(path, key, field, low, high)

    def _read(self, file: h5py.File, path: Path, start: int, stop: int) -> Batch:
        arrays = {key: _numbers(file, path, key, start, stop) for key in self.columns(file)}
        for key, values in arrays.items():
            check_finite(path, key, values, start)
            if key in self.nonnegative:
                check_not_negative(path, key, values, start, self.spec.unit)
        n = len(file[next(iter(arrays))])
        weight = read_weight(file, path, n, self.spec.signed, start, stop)
        return replace(self.decode(arrays, path), weight=weight)


def tensor(values: NDArray[np.floating]) -> torch.Tensor:
    """Float32 tensor of an array, without a copy where the type allows it."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def read_weight(
    file: h5py.File, path: Path, n: int, signed: bool, start: int = 0, stop: int | None = None
) -> torch.Tensor | None:
    """Event weights ``(stop - start,)``, or None where the file has none.

    Args:
        file: An open file of any format.
        path: Its path, for messages.
        n: Number of events that it holds.
        signed: Whether weights may be negative.
        start: First event.
        stop: Event behind the last (None: to the end).

    Raises:
        FormatError: If there is not one finite number per event, or one is negative and must not be.
    """
    if WEIGHT not in file:
        return None
    found = _shape(file, path, WEIGHT, (), "event weights")
    if found != (n,):
        raise FormatError(f"{path}: key {WEIGHT!r} has {found[0]} entries for {n} events")
    values = _numbers(file, path, WEIGHT, start, n if stop is None else stop)
    check_finite(path, WEIGHT, values, start)
    if not signed:
        check_not_negative(path, WEIGHT, values, start, "")
    return tensor(values)


def _numbers(file: h5py.File, path: Path, key: str, start: int, stop: int) -> Array:
    try:
        values: Array = file[key][start:stop].astype(np.float32, copy=False)
    except OSError as error:
        raise FormatError(
            f"{path}: key {key!r} cannot be read, the file is damaged ({_first(error)})"
        ) from error
    return values


def _shape(
    file: h5py.File, path: Path, key: str, wanted: tuple[int, ...], name: str
) -> tuple[int, ...]:
    if key not in file:
        raise FormatError(
            f"{path}: key {key!r} is missing, found {_keys(file)}, expected the keys of {name}"
        )
    data = file[key]
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu":
        kind = data.dtype if isinstance(data, h5py.Dataset) else "a group"
        raise FormatError(f"{path}: key {key!r} is {kind}, expected an array of numbers")
    found = tuple(data.shape)
    if found[1:] != wanted and not (wanted == (1,) and len(found) == 1):
        raise FormatError(
            f"{path}: key {key!r} has shape {found}, expected {('N', *wanted)} for {name}"
        )
    return found


def _keys(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return sorted(names)


def _first(error: OSError) -> str:
    return str(error).splitlines()[0].strip()
