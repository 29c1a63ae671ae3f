r"""Sparse copies of showers on disk, for data sets whose dense form does not fit in memory.

A shower has few hit cells, so its non-zero values and their positions are stored one after the
other, event ``i`` from ``offsets[i]`` to ``offsets[i + 1]``, and a batch is made dense when it is
asked for:

.. math:: x_{b, k_j} = v_j, \quad j = o_{i_b}, \dots, o_{i_b + 1} - 1 .

A cache is a folder below ``$SIMULACRA_CACHE`` named after the content of the files it was made
from; it is written beside its final name and renamed, so that it is complete wherever it exists.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Batch, Spec, UserError
from simulacra.core.files import private_folder, sync
from simulacra.data.files import content_hash
from simulacra.data.source import FieldSource, MemorySource
from simulacra.formats.base import Format
from simulacra.formats.opening import memory_for

VERSION = 2


class SparseSource(FieldSource):
    """Showers in a cache folder, made dense batch by batch; a copy in a worker opens the files anew.

    Args:
        folder: A complete cache.
        spec: Shape of the events.
    """

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder, self.spec = folder, spec
        meta = json.loads((folder / "meta.json").read_text())
        self.offsets = np.fromfile(folder / "offsets.bin", np.int64)
        self.cond, self.event, self.weight = {}, {}, None
        with np.load(folder / "fields.npz") as fields:
            if "weight" in fields:
                self.weight = torch.from_numpy(fields["weight"])
            for group, target in (("cond", self.cond), ("event", self.event)):
                target |= {
                    name: torch.from_numpy(fields[f"{group}.{name}"]) for name in meta[group]
                }
        self._columns = int(meta["columns"])
        self._open()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getstate__(self) -> dict[str, object]:
        return {
            key: value for key, value in self.__dict__.items() if key not in ("_index", "_values")
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order."""
        rows = np.asarray(index, dtype=np.int64)
        begin, end = self.offsets[rows], self.offsets[rows + 1]
        spans = [slice(b, e) for b, e in zip(begin, end, strict=True)]
        values, counts = _gather(self._values, spans), end - begin
        event = np.repeat(np.arange(len(rows)), counts)
        if self.spec.kind == "cloud":
            position = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
        else:
            position = _gather(self._index, spans).astype(np.int64)
        slots = self.spec.n_voxels // self._columns
        x = np.zeros((len(rows) * slots, self._columns), np.float32)
        x[event * slots + position] = values
        picked = torch.from_numpy(rows)
        mask = (
            torch.arange(slots) < torch.from_numpy(counts)[:, None]
            if self.spec.kind == "cloud"
            else None
        )
        return Batch(
            torch.from_numpy(x).view(len(rows), *self.spec.shape),
            {name: value[picked] for name, value in self.cond.items()},
            {name: value[picked] for name, value in self.event.items()},
            mask,
            None if self.weight is None else self.weight[picked],
        )

    def _open(self) -> None:
        total = int(self.offsets[-1])
        if total < 0 or (np.diff(self.offsets) < 0).any():
            raise ValueError("offsets.bin does not rise")
        self._values = _map(self.folder / "values.bin", np.float32, (total, self._columns))
        cells = 0 if self.spec.kind == "cloud" else total
        self._index = _map(self.folder / "index.bin", np.uint16, (cells,))


def cache_root() -> Path:
    """``$SIMULACRA_CACHE``, by default the user's cache folder."""
    chosen = os.environ.get("SIMULACRA_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "simulacra"


def file_hashes(parts: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """SHA-256 of the files of each part, under ``part/name``."""
    return {
        f"{part}/{path.name}": content_hash(path, cache_root() / "hashes")
        for part, paths in parts.items()
        for path in paths
    }


def load_dense(format: Format, paths: Sequence[Path]) -> MemorySource:
    """All events of some files in memory, read into place."""
    n, spec = sum(format.header(path).n for path in paths), format.spec
    with memory_for(paths[0]):
        x, parts = torch.zeros(n, *spec.shape), []
        mask = torch.zeros(n, spec.shape[0], dtype=torch.bool) if spec.kind == "cloud" else None
        start = 0
        for batch in _stream(format, paths):
            x[start : start + len(batch)] = batch.x
            if mask is not None and batch.mask is not None:
                mask[start : start + len(batch)] = batch.mask
            parts.append(_without_cells(batch))
            start += len(batch)
        return MemorySource(replace(Batch.cat(parts), x=x, mask=mask))


def load_sparse(format: Format, paths: Sequence[Path], root: Path | None = None) -> SparseSource:
    """All events of some files through the cache, which is made where it does not exist.

    Raises:
        UserError: If the cache cannot be written, or is damaged.
    """
    root = cache_root() if root is None else root
    if format.spec.kind != "cloud" and format.spec.n_voxels > np.iinfo(np.uint16).max + 1:
        raise UserError(
            f"the cache holds events of up to 65,536 cells, {format.spec.name} has {format.spec.n_voxels}"
        )
    folder = root / "showers" / _key(format, paths, root)
    try:
        private_folder(folder.parent)
        with _lock(folder.with_suffix(".lock")) as alone:
            for left in folder.parent.glob(f"{folder.name}.*.part") if alone else ():
                shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
            if not folder.is_dir():
                _build(format, paths, folder)
    except OSError as error:
        raise UserError(
            f"cannot write the cache {folder.parent}: {error.strerror or error}; set "
            "SIMULACRA_CACHE to a folder with space, or data.cache=never to hold all events in memory"
        ) from error
    try:
        return SparseSource(folder, format.spec)
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the cache {folder} is damaged ({reason}): remove this folder, it is made anew"
        ) from error


def _key(format: Format, paths: Sequence[Path], root: Path) -> str:
    content = [content_hash(path, root / "hashes") for path in paths]
    # the number of a class depends on which classes are loaded, and the class may stand in the
    # file's name alone
    names = [[field.name, field.classes] for field in (*format.spec.conditions, *format.spec.event)]
    parts = [VERSION, type(format).__name__, format.spec.name, format.spec.shape, names, content]
    parts.append(
        [path.stem for path in paths]
        if any(field.classes for field in format.spec.conditions)
        else []
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _build(format: Format, paths: Sequence[Path], folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    partial.mkdir(mode=0o700)  # events may be confidential
    try:
        _fill(format, paths, partial)
        for item in (*partial.iterdir(), partial):
            sync(item)
        with suppress(FileExistsError):
            partial.rename(folder)
        sync(folder.parent)
    except OSError as error:
        if not folder.is_dir():  # else another process was first
            raise error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(format: Format, paths: Sequence[Path], folder: Path) -> None:
    cloud, columns = (
        format.spec.kind == "cloud",
        format.spec.shape[-1] if format.spec.kind == "cloud" else 1,
    )
    counts, fields = [np.zeros(1, np.int64)], []
    with (folder / "index.bin").open("wb") as index, (folder / "values.bin").open("wb") as values:
        for batch in _stream(format, paths):
            if cloud and batch.mask is not None:
                hit, flat = batch.mask.numpy(), batch.x.numpy()
            else:
                flat = batch.x.flatten(1).numpy()
                hit = flat != 0
                np.nonzero(hit)[1].astype(np.uint16).tofile(index)
            flat[hit].tofile(values)
            counts.append(hit.sum(1).astype(np.int64))
            fields.append(_without_cells(batch))
    np.cumsum(np.concatenate(counts)).tofile(folder / "offsets.bin")
    table = Batch.cat(fields)
    named = {"cond": table.cond, "event": table.event}
    arrays = {
        f"{group}.{name}": value.numpy()
        for group, part in named.items()
        for name, value in part.items()
    }
    if table.weight is not None:
        arrays["weight"] = table.weight.numpy()
    np.savez(folder / "fields.npz", **arrays)  # type: ignore[arg-type]  # no key is "allow_pickle"
    meta = {"columns": columns, **{group: sorted(part) for group, part in named.items()}}
    (folder / "meta.json").write_text(json.dumps(meta))


def _without_cells(batch: Batch) -> Batch:
    """Conditions, event fields and weights alone."""
    return replace(batch, x=batch.x.new_zeros(len(batch), 0), mask=None)


def _stream(format: Format, paths: Sequence[Path]) -> Iterator[Batch]:
    for path in paths:
        yield from format.iterate(path)


def _gather(array: NDArray[np.generic], spans: Sequence[slice]) -> NDArray[np.generic]:
    return np.concatenate([array[span] for span in spans]) if spans else array[:0]


def _map(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    if 0 in shape:  # an empty file cannot be mapped
        return np.zeros(shape, dtype)
    wanted = np.dtype(dtype).itemsize * math.prod(shape)
    if path.stat().st_size != wanted:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes, expected {wanted:,}")
    return np.memmap(path, dtype, mode="r", shape=shape)


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Let one process at a time make a cache; where locks are unknown, the renaming alone keeps it whole.

    Yields:
        Whether this process is known to be alone.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    alone = False
    with path.open("w") as file:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
            alone = True
        yield alone
