"""Writes HDF5 files of any length in a stream, whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulacra.core import Batch, Spec
from simulacra.core.files import cannot_write
from simulacra.core.weights import check_weight
from simulacra.formats.base import Writer

Array = NDArray[np.float32]
WEIGHT = "weight"
"""Key of the event weights, ``(N,)``, in every HDF5 file that has some."""
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
_CHUNK_BYTES = 2**20


class ArrayFormat(Protocol):
    """What the writer needs to know of a format."""

    spec: Spec

    def columns(self) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""

    def encode(self, batch: Batch) -> dict[str, Array]:
        """One array per key."""


class _Sink(io.RawIOBase):
    """A file that keeps an error to itself, since HDF5 crashes the interpreter after a write that failed.

    Args:
        path: New file.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("w+b", buffering=0)
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as HDF5 calls it
        return self.file.readinto(buffer) or 0

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        view, done = memoryview(data).cast("B"), 0
        try:
            while self.error is None and done < len(view):
                done += self.file.write(view[done:]) or 0
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.file.close()
        super().close()

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self.error is not None:
            raise self.error


class SinkWriter(Writer):
    """Writes an HDF5 file through a sink that keeps the errors of a disk, which are raised between writes."""

    takes_weights: ClassVar[bool] = True

    def _start(self) -> None:
        """Open the file and its sink."""
        self.sink = _Sink(self.temporary)
        self.file = h5py.File(self.sink, "w", rdcc_nbytes=8 * _CHUNK_BYTES)

    def _close(self) -> None:
        self.file.attrs.update(self.attributes)
        self.file.close()
        self.sink.check()
        os.fsync(self.sink.file.fileno())
        self.sink.close()

    def _discard(self) -> None:
        try:
            self.file.close()
        finally:
            self.sink.close()


class Hdf5Writer(SinkWriter):
    """Streams batches into extendable, compressed arrays.

    Args:
        path: Where the file shall be.
        format: Names the arrays and translates batches to them.
        attributes: Provenance, stored as attributes of the file.
    """

    def __init__(
        self, path: Path | str, format: ArrayFormat, attributes: Mapping[str, str | int | float]
    ) -> None:
        super().__init__(path)
        self.format, self.attributes = format, dict(attributes)
        self.n = 0

    def _append(self, batch: Batch) -> None:
        arrays = self.format.encode(batch)
        if batch.weight is not None:
            check_weight(batch.weight, len(batch), self.format.spec.signed)
            arrays |= {WEIGHT: batch.weight.float().cpu().numpy()}
        try:
            self._store(arrays)
            self.n += len(batch)
            self.file.flush()
            self.sink.check()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _open(self) -> None:
        self._start()
        self._create_all()

    def _create_all(self) -> None:
        """Make the empty arrays."""
        for key, shape in self.format.columns().items():
            self._create(key, shape)

    def _create(
        self, key: str, shape: tuple[int, ...], kind: DTypeLike = np.float32
    ) -> h5py.Dataset:
        """An empty array of events of one shape and type."""
        rows = max(1, _CHUNK_BYTES // (np.dtype(kind).itemsize * int(np.prod(shape))))
        chunks = (min(rows, 4096), *shape)
        return self.file.create_dataset(
            key, (0, *shape), kind, maxshape=(None, *shape), chunks=chunks, **_COMPRESSION
        )

    def _store(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays behind the events that are there."""
        for key, values in arrays.items():
            data = self.file[key] if key in self.file else self._create(key, ())
            data.resize(self.n + len(values), axis=0)
            data[self.n :] = values
            self.sink.check()
