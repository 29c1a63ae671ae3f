r"""Fired pixels of a stack of sensors as lists, the form in which pixel data are kept until images
are asked for.

One event of the Belle II pixel detector is 40 x 250 x 768 numbers, of which about one in a hundred
is not zero: 31 MB as an image stack, 0.35 MB as a list of ``(sensor, u, v, charge)``. The lists of
several events stand one after the other, event ``i`` from ``offsets[i]`` to ``offsets[i + 1]``,
each sorted by sensor, then u, then v.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import UserError
from simulacra.formats.pxd_sensors import COLS, ROWS, SENSORS, pad_rows, pooled_shape

Array = NDArray[Any]
COLUMNS: dict[str, type[np.unsignedinteger[Any]]] = {
    "sensor": np.uint8,
    "u": np.uint8,
    "v": np.uint16,
    "charge": np.uint16,
}


@dataclass(frozen=True)
class Hits:
    """Fired cells of ``n`` events.

    Args:
        offsets: Where each event starts and the last ends, int64 ``(n + 1,)``.
        sensor: Number of the sensor, 0 to 39, uint8 ``(hits,)``.
        u: Row, uint8 ``(hits,)``.
        v: Column, uint16 ``(hits,)``.
        charge: Charge [ADU], uint16 ``(hits,)``, at most 255 in a single pixel.
        shape: Rows and columns of a sensor.
    """

    offsets: Array
    sensor: Array
    u: Array
    v: Array
    charge: Array
    shape: tuple[int, int] = (ROWS, COLS)

    @classmethod
    def of(
        cls, offsets: Array, columns: Sequence[Array], shape: tuple[int, int] = (ROWS, COLS)
    ) -> Hits:
        """Sensor, u, v and charge in this order, brought to their types, in which they must fit."""
        typed = {
            n: c.astype(k, copy=False) for (n, k), c in zip(COLUMNS.items(), columns, strict=True)
        }
        return cls(offsets.astype(np.int64, copy=False), **typed, shape=shape)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def columns(self) -> tuple[Array, Array, Array, Array]:
        """Sensor, u, v and charge."""
        return self.sensor, self.u, self.v, self.charge

    def __getitem__(self, index: int | slice | Sequence[int] | Array) -> Hits:
        """Some of the events."""
        picked = np.atleast_1d(np.arange(len(self))[index])
        counts = np.diff(self.offsets)[picked]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(self.offsets[picked] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Hits.of(offsets, [column[rows] for column in self.columns()], self.shape)

    def events(self) -> Array:
        """Number of the event of each hit, int64 ``(hits,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def to_dense(self, sensors: Sequence[int]) -> Tensor:
        """Images of the sensors asked for, in that order: float32 ``(n, len(sensors), rows, cols)``
        [ADU].
        """
        rows, cols = self.shape
        position = np.full(len(SENSORS), -1)
        position[list(sensors)] = np.arange(len(sensors))
        place = position[self.sensor]
        kept = place >= 0
        flat = (
            (self.events()[kept] * len(sensors) + place[kept]) * rows + self.u[kept]
        ) * cols + self.v[kept]
        images = torch.zeros(len(self) * len(sensors) * rows * cols)
        images[torch.from_numpy(flat)] = torch.from_numpy(self.charge[kept].astype(np.float32))
        return images.view(len(self), len(sensors), rows, cols)

    @classmethod
    def from_dense(cls, images: Tensor, sensors: Sequence[int], threshold: float = 0.0) -> Hits:
        """Inverse of :meth:`to_dense`: charges are rounded, and what is then below ``threshold`` or
        0 is dropped.

        Args:
            images: Charges ``(n, len(sensors), rows, cols)`` [ADU].
            sensors: Number of the sensor that each image shows.
            threshold: Smallest charge that is kept [ADU].
        """
        n, stack, rows, cols = images.shape
        if stack != len(sensors):
            raise UserError(f"there are {stack} images per event for {len(sensors)} sensors")
        order = np.argsort(np.asarray(sensors), kind="stable")
        charge = images[:, torch.from_numpy(order)].round().flatten()
        if len(charge) and float(charge.max()) > np.iinfo(np.uint16).max:
            raise UserError(f"a charge of {float(charge.max()):.6g} ADU does not fit into 16 bits")
        flat = torch.nonzero(charge >= max(threshold, 1.0)).squeeze(1).numpy()
        event, rest = np.divmod(flat, stack * rows * cols)
        place, pixel = np.divmod(rest, rows * cols)
        columns = (
            np.asarray(sensors)[order][place],
            pixel // cols,
            pixel % cols,
            charge.numpy()[flat],
        )
        return cls.of(_offsets(event, n), columns, (rows, cols))

    def pick(self, sensors: Sequence[int]) -> Hits:
        """The hits in some of the sensors."""
        kept = np.isin(self.sensor, np.asarray(sensors))
        return self if bool(kept.all()) else self._where(kept)

    def above(self, threshold: float) -> Hits:
        """The hits with a charge of at least ``threshold`` [ADU]."""
        kept = self.charge >= threshold
        return self if bool(kept.all()) else self._where(kept)

    def pool(self, factor: int, ceiling: int) -> Hits:
        """Sum the charge over squares of ``factor x factor`` pixels of full sensors, rows padded
        evenly to a multiple.

        Sums saturate at ``ceiling`` [ADU], as the charge of a single pixel does at 255.
        """
        if self.shape != (ROWS, COLS):
            raise UserError(
                f"only sensors of {ROWS}x{COLS} pixels are pooled, got {self.shape[0]}x{self.shape[1]}"
            )
        if factor == 1:
            return self
        rows, cols = pooled_shape(factor)
        u, v = (
            (self.u.astype(np.int64) + pad_rows(factor)) // factor,
            self.v.astype(np.int64) // factor,
        )
        flat = ((self.events() * len(SENSORS) + self.sensor) * rows + u) * cols + v
        cells, where = np.unique(flat, return_inverse=True)
        charge = np.bincount(where, weights=self.charge, minlength=len(cells)).clip(max=ceiling)
        event, rest = np.divmod(cells, len(SENSORS) * rows * cols)
        sensor, pixel = np.divmod(rest, rows * cols)
        columns = (sensor, pixel // cols, pixel % cols, charge)
        return Hits.of(_offsets(event, len(self)), columns, (rows, cols))

    def sha256(self) -> str:
        """Hash of all numbers, equal for equal events on every machine."""
        sha = hashlib.sha256(repr(self.shape).encode())
        sha.update(np.ascontiguousarray(self.offsets, dtype="<i8").tobytes())
        for name, kind in COLUMNS.items():
            little = np.dtype(kind).newbyteorder("<")
            sha.update(np.ascontiguousarray(getattr(self, name), dtype=little).tobytes())
        return sha.hexdigest()

    @staticmethod
    def cat(parts: Sequence[Hits]) -> Hits:
        """Events of all parts, one after the other."""
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        columns = [
            np.concatenate(column)
            for column in zip(*(part.columns() for part in parts), strict=True)
        ]
        return Hits.of(np.concatenate([[0], np.cumsum(counts)]), columns, parts[0].shape)

    def _where(self, kept: Array) -> Hits:
        columns = [column[kept] for column in self.columns()]
        return Hits.of(_offsets(self.events()[kept], len(self)), columns, self.shape)


def _offsets(event: Array, n: int) -> Array:
    """Offsets of ``n`` events from the sorted event number of each hit."""
    return np.searchsorted(event, np.arange(n + 1)).astype(np.int64)
