"""Formats that are HDF5 files: one or more arrays of equal length ``N``, one entry per event.

A subclass names its keys with the shape of one event each, and translates between arrays and a
:class:`~simulacra.core.Batch`; this module finds, in one sentence each, everything that can be
wrong with such a file. Each format may also hold event weights under ``weight``, ``(N,)``.
"""

from __future__ import annotations

import functools
import logging
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Batch, Field, FormatError
from simulacra.formats.base import TIME, FileInfo, Format
from simulacra.formats.cleaning import Cleaning, check_finite
from simulacra.formats.hdf5_data import (
    Array,
    Stored,
    attribute,
    dataset,
    event_shape,
    merges,
    numbers,
    open_hdf5,
    present,
    stored,
)
from simulacra.formats.hdf5_writer import WEIGHT, Hdf5Writer

log = logging.getLogger(__name__)

__all__ = [
    "WEIGHT",
    "Array",
    "Hdf5Format",
    "Hdf5Writer",
    "attribute",
    "check_far",
    "check_finite",
    "check_not_negative",
    "dataset",
    "event_shape",
    "open_hdf5",
    "pad_points",
    "present",
    "read_weight",
    "stored",
    "tensor",
]

FAR = 1e3
"""How far beyond its published range an energy may lie before it is called an error of the file."""
_HIGHEST = {"GeV": 1e9, "MeV": 1e12}  # beyond any accelerator, where no range is published


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


def check_far(path: Path | str, key: str, field: Field, low: float, high: float) -> None:
    """Refuse what lies far beyond the published range, or is an energy that no accelerator gives."""
    if field.high is not None:
        most = FAR * max(abs(field.low or 0.0), abs(field.high))
    else:
        most = _HIGHEST.get(field.unit, np.inf)
    least = field.low / FAR if field.role == "energy" and field.low else -most
    if high > most or low < least:
        wrong = high if high > most else low
        usual = f"{field.low:g} to {field.high:g}" if field.high is not None else f"up to {most:g}"
        raise FormatError(
            f"{path}: key {key!r} holds {wrong:.6g}, but {usual} {field.unit or 'in all'} are usual: it is "
            "damaged, or in another unit"
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

    def axes(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Axes behind one event of ``shape`` under a key, in the same order, that a file need not join."""
        return shape

    def data(self, file: h5py.File, path: Path, key: str) -> Stored:
        """What a file holds under a key of :meth:`columns`, checked but not read.

        Raises:
            FormatError: See :func:`dataset`.
        """
        return dataset(file, path, key, f"the keys of {self.spec.name}")

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

    def simulated(self, path: Path | str) -> tuple[float, float] | None:
        """As the attributes of the file say."""
        with open_hdf5(path) as file:
            found = [attribute(file, Path(path), name) for name in (TIME, f"{TIME}_error")]
        if not all(isinstance(item, float) and math.isfinite(item) for item in found):
            return None
        return float(found[0]), float(found[1])  # type: ignore[arg-type]  # two numbers

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
        columns = self.columns(file)
        shapes = {key: self._shape(file, path, key, shape) for key, shape in columns.items()}
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
            values = numbers(self.data(file, path, key), path, key, 0, n).reshape(n, -1)
            check_finite(path, key, values, 0)
            ranges[name] = float(values.min()), float(values.max())
            self._check_energies(path, key, self.spec.field(name), *ranges[name])
        return FileInfo(path, n, shapes, ranges)

    def _shape(
        self, file: h5py.File, path: Path, key: str, wanted: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Shape of the array under a key, which holds events of shape ``wanted`` in the order of its axes."""
        found = tuple(self.data(file, path, key).shape)
        axes = self.axes(key, wanted)
        if not merges(found[1:], axes):
            other = "" if axes == wanted else f" or {('N', *axes)}"
            raise FormatError(
                f"{path}: key {key!r} has shape {found}, expected {('N', *wanted)}{other} for "
                f"{self.spec.name}"
            )
        return found

    def _check_energies(self, path: Path, key: str, field: Field, low: float, high: float) -> None:
        if field.unit in ("MeV", "GeV") and field in self.spec.conditions:
            if low <= 0:
                raise FormatError(
                    f"{path}: key {key!r} holds {low:.6g}, expected energies above 0 {field.unit}"
                )
            check_energy_unit(path, key, field, low, high)
        check_far(path, key, field, low, high)

    def _read(self, file: h5py.File, path: Path, start: int, stop: int) -> Batch:
        arrays = self._arrays(file, path, start, stop)
        if self.cleaning is not None:
            arrays = self.cleaned(arrays, path, start, self.cleaning)
        for key in self.nonnegative:
            if key in arrays:
                check_not_negative(path, key, arrays[key], start, self.spec.unit)
        n = len(self.data(file, path, next(iter(self.columns(file)))))
        weight = read_weight(file, path, n, self.spec.signed, start, stop)
        return replace(self.decode(arrays, path), weight=weight)

    def cleaned(
        self, arrays: dict[str, Array], path: Path, start: int, cleaning: Cleaning
    ) -> dict[str, Array]:
        """Arrays of the events from ``start`` on, without what public evaluations cut.

        Raises:
            FormatError: If more than that is to be changed than ``cleaning`` allows.
        """
        values = {key: arrays[key] for key in self.nonnegative if key in arrays}
        unit = self.spec.unit
        return arrays | {
            key: cleaning.negative(path, key, item, start, unit) for key, item in values.items()
        }

    def _arrays(self, file: h5py.File, path: Path, start: int, stop: int) -> dict[str, Array]:
        """Arrays by key of the events ``start`` to ``stop``, all finite."""
        arrays = {}
        for key, shape in self.columns(file).items():
            values = numbers(self.data(file, path, key), path, key, start, stop)
            arrays[key] = self.finite(path, key, values.reshape(len(values), *shape), start)
        return arrays

    def finite(self, path: Path, key: str, values: Array, start: int) -> Array:
        """Values ``(n, ...)`` of the events from ``start`` on, all of them finite.

        Raises:
            FormatError: If some are not.
        """
        if self.cleaning is not None:
            return self.cleaning.finite(path, key, values, start)
        check_finite(path, key, values, start)
        return values


def tensor(values: NDArray[np.floating]) -> torch.Tensor:
    """Float32 tensor of an array, without a copy where the type allows it."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def pad_points(values: Array, size: int, path: Path) -> Array:
    """Zeros behind the points of ``(n, points, ...)``, up to ``size``, which is said once per file."""
    missing = size - values.shape[1]
    if not missing:
        return values
    _say_padded(path, values.shape[1], size)
    return np.pad(values, [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)])


@functools.cache
def _say_padded(path: Path, found: int, usual: int) -> None:
    log.warning(
        "%s: its events have room for %s points, which differs from the usual %s: the rest counts as empty",
        *(path, f"{found:,}", f"{usual:,}"),
    )


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
    if not present(file, path, WEIGHT):
        return None
    data = dataset(file, path, WEIGHT)
    if data.ndim != 1:
        raise FormatError(
            f"{path}: key {WEIGHT!r} has shape {tuple(data.shape)}, expected ('N',) for event weights"
        )
    if len(data) != n:
        raise FormatError(f"{path}: key {WEIGHT!r} has {len(data)} entries for {n} events")
    values = numbers(data, path, WEIGHT, start, n if stop is None else stop).reshape(-1)
    check_finite(path, WEIGHT, values, start)
    if not signed:
        check_not_negative(path, WEIGHT, values, start, "")
    return tensor(values)
