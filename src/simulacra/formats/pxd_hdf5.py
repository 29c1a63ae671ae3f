"""Lists of fired pixels as HDF5, a fortieth of the size of the images: the form in which pixel
events are kept.

The file has one entry per fired pixel under ``sensor`` (uint8, 0 to 39), ``u`` (uint8), ``v``
(uint16) and ``charge`` [ADU] (uint8, uint16 where several pixels are summed), and under
``event_offsets`` (int64, events + 1) where each event starts. Within an event hits rise by sensor,
then u, then v. Event weights may stand under ``weight``, as in every HDF5 file, and the conditions
of the events under their names, such as ``rate`` (float32, events). The attributes
``rows`` and ``cols`` say how many cells a sensor has, ``sensors`` which ones were read out,
``layout`` and ``version`` that the file is one of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, UserError
from simulacra.core.files import cannot_write
from simulacra.core.signals import held
from simulacra.core.weights import check_weight
from simulacra.formats.base import FileInfo
from simulacra.formats.cleaning import Cleaning
from simulacra.formats.hdf5 import (
    WEIGHT,
    attribute,
    check_finite,
    open_hdf5,
    read_weight,
    tensor,
)
from simulacra.formats.hdf5_data import dataset, numbers, stored
from simulacra.formats.hdf5_writer import SinkWriter
from simulacra.formats.pxd_hits import COLUMNS, Array, Hits
from simulacra.formats.pxd_sensors import COLS, ROWS, SENSORS

LAYOUT, VERSION = "pixel hits", 1
OFFSETS = "event_offsets"
_CHUNK = 2**16  # hits


@dataclass(frozen=True)
class Layout:
    """Rows and columns of the sensors, and the numbers of those that were read out."""

    shape: tuple[int, int]
    sensors: tuple[int, ...]


def header(path: Path, wanted: Sequence[Field] = ()) -> tuple[FileInfo, Layout]:
    """Check keys, types, lengths, offsets and the conditions that are wanted; returns what the file
    holds, and of which sensors.
    """
    with open_hdf5(path) as file:
        layout = _check_layout(file, path)
        offsets = _offsets(file, path)
        n = len(offsets) - 1
        shapes = {key: tuple(dataset(file, path, key).shape) for key in (OFFSETS, *COLUMNS)}
        if read_weight(file, path, n, False) is not None:
            shapes[WEIGHT] = (n,)
        found = {field.name: _condition(file, path, field, n) for field in wanted}
        ranges = {name: (float(v.min()), float(v.max())) for name, v in found.items()}
        shapes |= dict.fromkeys(found, (n,))
        return FileInfo(path, n, shapes, ranges), layout


def read(
    path: Path, start: int = 0, stop: int | None = None, cleaning: Cleaning | None = None
) -> Hits:
    """Events ``start`` to ``stop`` (to the end if None), every value checked.

    With ``cleaning`` charges end where the converter ends.
    """
    with open_hdf5(path) as file:
        layout = _check_layout(file, path)
        offsets = _offsets(file, path)
        n = len(offsets) - 1
        start, stop = min(start, n), n if stop is None else min(stop, n)
        offsets = offsets[start : stop + 1]
        columns = {key: _column(file, path, key, offsets[0], offsets[-1]) for key in COLUMNS}
    if cleaning is not None:
        number = np.repeat(np.arange(start, stop), np.diff(offsets))
        columns["charge"] = cleaning.ceiling(
            path, "charge", columns["charge"], _largest(layout), number
        )
    _check_values(columns, layout, path)
    hits = Hits.of(offsets - offsets[0], list(columns.values()), layout.shape)
    _check_order(hits, path, start)
    return hits


def weights(path: Path, start: int = 0, stop: int | None = None) -> Tensor | None:
    """Weights ``(n,)`` of events ``start`` to ``stop`` (to the end if None), or None where there are none."""
    with open_hdf5(path) as file:
        n = len(dataset(file, path, OFFSETS)) - 1
        return read_weight(file, path, n, False, min(start, n), n if stop is None else min(stop, n))


def conditions(path: Path, wanted: Sequence[Field]) -> dict[str, Tensor]:
    """Conditions of all events by name, float32 ``(n, 1)``, all finite and in their range."""
    with open_hdf5(path) as file:
        n = len(dataset(file, path, OFFSETS)) - 1
        return {field.name: tensor(_condition(file, path, field, n))[:, None] for field in wanted}


class SparseWriter(SinkWriter):
    """Streams events into extendable, compressed arrays.

    Args:
        path: Where the file shall be.
        sensors: Number of the sensor that each image of a batch shows.
        shape: Rows and columns of a sensor.
        threshold: Charges below it are dropped [ADU].
        attributes: Provenance, stored as attributes of the file.
        conditions: Names of the conditions that are stored with each event.
    """

    def __init__(
        self,
        path: Path | str,
        sensors: tuple[int, ...],
        shape: tuple[int, int],
        threshold: float,
        attributes: Mapping[str, str | int | float],
        conditions: Sequence[str] = (),
    ) -> None:
        super().__init__(path)
        self.conditions: dict[str, list[Array]] = {name: [] for name in conditions}
        self.sensors, self.shape, self.threshold, self.attributes = (
            sensors,
            shape,
            threshold,
            dict(attributes),
        )
        self.narrow = shape == (ROWS, COLS)
        self.offsets = [np.zeros(1, np.int64)]
        self.pending: list[Hits] = []
        self.weights: list[Tensor] = []

    def _append(self, batch: Batch) -> None:
        """Write images ``(B, S, rows, cols)`` [ADU], rounded to whole ADU."""
        if batch.weight is not None:
            check_weight(batch.weight, len(batch))
            self.weights.append(batch.weight.float().cpu())
        self.append_hits(
            Hits.from_dense(batch.x.detach().cpu().float(), self.sensors, self.threshold),
            batch.cond,
        )

    def append_hits(self, hits: Hits, cond: Mapping[str, Tensor] | None = None) -> None:
        """Write events that are lists already, and their conditions ``(n, 1)``."""
        missing = self.conditions.keys() - (cond or {}).keys()
        if missing:
            raise UserError(
                f"cannot write {self.path}: its events lack the condition {min(missing)!r}"
            )
        if hits.shape != self.shape:
            raise UserError(
                f"cannot write {self.path}: sensors are {hits.shape}, the file has {self.shape}"
            )
        if self.narrow and len(hits.charge) and int(hits.charge.max()) > 255:
            raise UserError(
                f"cannot write {self.path}: a pixel holds {int(hits.charge.max())} ADU, 8 bits end at 255"
            )
        for name, values in self.conditions.items():
            values.append((cond or {})[name].detach().cpu().float().numpy().reshape(len(hits)))
        self.offsets.append(hits.offsets[1:] + self.offsets[-1][-1])
        self.pending.append(hits)
        if sum(len(part.charge) for part in self.pending) >= _CHUNK:
            try:
                with held():
                    self._write(whole=True)
            except OSError as error:
                raise cannot_write(self.path, error) from error

    def _open(self) -> None:
        self._start()
        rows, cols = self.shape
        self.file.attrs.update(
            {"layout": LAYOUT, "version": VERSION, "unit": "ADU", "rows": rows, "cols": cols}
        )
        self.file.attrs["sensors"] = np.asarray(self.sensors, dtype=np.uint8)
        for key, kind in COLUMNS.items():
            stored = np.uint8 if key == "charge" and self.narrow else kind
            self.file.create_dataset(
                key,
                (0,),
                stored,
                maxshape=(None,),
                chunks=(_CHUNK,),
                compression="gzip",
                compression_opts=9,
                shuffle=True,
            )

    def _close(self) -> None:
        self._write(whole=False)
        lists = {OFFSETS: np.concatenate(self.offsets)}
        if self.weights:
            lists[WEIGHT] = np.concatenate(self.weights)
        lists |= {name: np.concatenate(v) for name, v in self.conditions.items() if v}
        for key, values in lists.items():
            self.file.create_dataset(key, data=values, compression="gzip", shuffle=True)
            self.sink.check()
        super()._close()

    def _write(self, whole: bool) -> None:
        """Append what is pending, only ``whole`` chunks or all of it: a chunk that grows would be
        stored twice.
        """
        if not self.pending:
            return
        hits = Hits.cat(self.pending)
        count = len(hits.charge) // _CHUNK * _CHUNK if whole else len(hits.charge)
        for key, values in zip(COLUMNS, hits.columns(), strict=True):
            data = self.file[key]
            start = len(data)
            data.resize(start + count, axis=0)
            data[start:] = values[:count]
            self.sink.check()
        self.file.flush()
        self.sink.check()
        rest = [column[count:] for column in hits.columns()]
        self.pending = [Hits.of(np.array([0, len(rest[0])]), rest, self.shape)]


def _check_layout(file: h5py.File, path: Path) -> Layout:
    found = attribute(file, path, "layout"), attribute(file, path, "version")
    if found != (LAYOUT, VERSION):
        raise FormatError(
            f"{path}: attributes layout and version are {found}, expected {(LAYOUT, VERSION)}"
        )
    counts = {}
    for key in (OFFSETS, *COLUMNS):
        data = dataset(file, path, key, "those of a list of hits")
        if data.ndim != 1 or data.dtype.kind not in "iu":
            raise FormatError(f"{path}: key {key!r} is not a list of whole numbers")
        counts[key] = len(data)
    del counts[OFFSETS]
    if len(set(counts.values())) > 1:
        raise FormatError(
            f"{path}: the keys differ in length ({counts}), expected one entry per hit in each"
        )
    rows, cols = (_whole(path, key, attribute(file, path, key)) for key in ("rows", "cols"))
    sensors = attribute(file, path, "sensors")
    listed = sensors if isinstance(sensors, list) else [sensors]
    numbers = tuple(item for item in listed if isinstance(item, int) and 0 <= item < len(SENSORS))
    if not listed or len(numbers) < len(listed):
        raise FormatError(
            f"{path}: attribute 'sensors' must hold the numbers of the sensors that were read out"
        )
    return Layout((rows, cols), numbers)


def _whole(path: Path, key: str, value: object) -> int:
    if not isinstance(value, int):
        raise FormatError(f"{path}: attribute {key!r} is {value!r}, expected a whole number")
    return value


def _offsets(file: h5py.File, path: Path) -> Array:
    offsets = _column(file, path, OFFSETS, 0, len(dataset(file, path, OFFSETS)))
    hits = len(dataset(file, path, "sensor"))
    if len(offsets) < 2:
        raise FormatError(f"{path}: the file holds no events")
    if offsets[0] != 0 or offsets[-1] != hits or (np.diff(offsets) < 0).any():
        raise FormatError(f"{path}: key {OFFSETS!r} must rise from 0 to the number of hits, {hits}")
    return offsets


def _condition(file: h5py.File, path: Path, field: Field, n: int) -> Array:
    """Values ``(n,)`` of a condition, checked against its lower bound."""
    data = dataset(file, path, field.name, f"hits with the condition {field.name!r}")
    if data.shape != (n,):
        raise FormatError(
            f"{path}: key {field.name!r} has shape {tuple(data.shape)}, expected ({n},) for {n} events"
        )
    values = numbers(data, path, field.name, 0, n)
    check_finite(path, field.name, values, 0)
    if field.low is not None and values.min() < field.low:
        raise FormatError(
            f"{path}: key {field.name!r} holds {values.min():.6g}, expected {field.low:g} {field.unit} "
            "or more"
        )
    return values


def _column(file: h5py.File, path: Path, key: str, start: int, stop: int) -> Array:
    """Part of a list, in int64, so that nothing is lost before its values are checked."""
    values = stored(dataset(file, path, key), path, key, start, stop)
    if len(values) and int(values.min()) < 0:
        raise FormatError(
            f"{path}: key {key!r} holds {values.min()}, expected numbers at or above 0"
        )
    if len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise FormatError(f"{path}: key {key!r} holds {values.max()}, which is no number of hits")
    return values.astype(np.int64)


def _largest(layout: Layout) -> int:
    """Largest charge of a cell [ADU]."""
    return 255 if layout.shape == (ROWS, COLS) else int(np.iinfo(np.uint16).max)


def _check_values(columns: dict[str, Array], layout: Layout, path: Path) -> None:
    rows, cols = layout.shape
    limits = {"sensor": len(SENSORS) - 1, "u": rows - 1, "v": cols - 1, "charge": _largest(layout)}
    for key, limit in limits.items():
        if len(columns[key]) and int(columns[key].max()) > limit:
            raise FormatError(
                f"{path}: key {key!r} holds {columns[key].max()}, expected 0 to {limit}"
            )
    if len(columns["charge"]) and int(columns["charge"].min()) == 0:
        raise FormatError(f"{path}: key 'charge' holds 0, expected only pixels that fired")
    strange = sorted(set(np.unique(columns["sensor"]).tolist()) - set(layout.sensors))
    if strange:
        raise FormatError(
            f"{path}: sensor {strange[0]} has hits, but attribute 'sensors' does not name it"
        )


def _check_order(hits: Hits, path: Path, start: int) -> None:
    rows, cols = hits.shape
    events = hits.events()
    place = ((events * len(SENSORS) + hits.sensor) * rows + hits.u) * cols + hits.v
    wrong = np.flatnonzero(np.diff(place) <= 0)
    if len(wrong):
        number = start + int(events[wrong[0]])
        raise FormatError(
            f"{path}: hits of event {number} must rise by sensor, u and v, without repetition"
        )
