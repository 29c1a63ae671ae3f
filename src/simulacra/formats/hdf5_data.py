"""Data sets and attributes of HDF5 files of anyone: found, described and read with nothing taken on trust.

A data set is read where its numbers are in the file itself and all there: links out of the file, virtual
data sets and raw storage, which read other files of the user or fill values in the place of lost ones, are
refused, as are chunks that were never written and sizes that the file cannot hold.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from simulacra.core import FormatError
from simulacra.formats.opening import first_line, guard, look, other_kind, system_cause

Array = NDArray[np.float32]
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_RAISED = (KeyError, RuntimeError, TypeError, ValueError, OverflowError)
_HOPS = 16  # soft links that may follow each other
_LISTED = 20  # keys that a message names
_SPARE = 2**22  # bytes that HDF5 needs for itself
_COPIES = 4  # of a chunk, while it passes through filters
_WIDEST = 8  # bytes of a number
_WANTED = {"V": "an array of records", "O": "an array of lists"}
_FILTERS = {
    4: "szip",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
}
"""Registered filters that h5py does not bring along."""


@contextlib.contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Open for reading; what HDF5 raises in the block becomes one sentence.

    Raises:
        FormatError: If the file is missing, empty, locked, unfinished, not HDF5, truncated or damaged, or may
            not be read.
    """
    path = Path(path)
    start = look(path, "HDF5")
    with reading_hdf5(path):
        if not start.startswith(_SIGNATURE) and not h5py.is_hdf5(path):
            raise other_kind(path, "HDF5", start)
        with h5py.File(path, "r") as file:
            yield file


@contextlib.contextmanager
def reading_hdf5(path: Path, key: str | None = None, need: int = _SPARE) -> Iterator[None]:
    """Turn what h5py raises in the block into one sentence, about a key where one is named.

    HDF5 does not say that it ran out of memory within a filter: where ``need`` bytes cannot be had, that
    was the cause, and not the file.

    Raises:
        FormatError: See :func:`open_hdf5`.
    """

    def say(error: Exception) -> str:
        text = str(error)
        try:
            np.empty(need, np.uint8)
        except MemoryError as short:
            return str(system_cause(path, short))
        if "unable to lock file" in text:
            return (
                "it is locked, by another program or because its disk knows no locks: close that program, "
                "or set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
            )
        if "consistency flag" in text or "already open for write" in text:
            return (
                "the program that writes it has not finished, or was stopped: let it finish, write the "
                "file again, or try 'h5clear -s' on a copy of it"
            )
        what = "the HDF5 file is truncated or damaged"
        if key is not None:
            what = f"key {key!r} cannot be read, the file is damaged"
        return f"{what}, get it again ({first_line(error)})"

    with guard(path, _RAISED, say, "h5py"):
        yield


def keys_of(file: h5py.File) -> list[str]:
    """Names of the data sets in a file, sorted, as many as a message may name."""
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    more = [f"... {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return sorted(names)[:_LISTED] + more


def present(file: h5py.File, path: Path, key: str) -> bool:
    """Whether a file holds something under a key.

    Raises:
        FormatError: If the key is a link that leads out of the file, to nothing, or in a circle.
    """
    return _resolve(file, path, key) is not None


def event_shape(file: h5py.File, path: Path, key: str) -> tuple[int, ...] | None:
    """Shape of one event under a key, or None where there is no array."""
    place = _resolve(file, path, key)
    item = None if place is None else file[place]
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        return None
    return tuple(item.shape[1:])


def dataset(
    file: h5py.File, path: Path, key: str, expected: str = "", kinds: str = "fiu"
) -> h5py.Dataset:
    """An array of numbers, one entry or more per event, all of whose values are in the file.

    Args:
        file: An open file.
        path: Its path, for messages.
        key: Where the array stands.
        expected: What has such keys, to end the message where it is missing: ``"the keys of ds2"``.
        kinds: Kinds of numbers that are taken, as numpy abbreviates them.

    Raises:
        FormatError: In one sentence that names file, key, what was found and what to do.
    """
    with reading_hdf5(path, key):
        place = _resolve(file, path, key)
        if place is None:
            wanted = f", expected {expected}" if expected else ""
            raise FormatError(f"{path}: key {key!r} is missing, found {keys_of(file)}{wanted}")
        item = file[place]
        problem = _problem(item, kinds)
        if problem is not None:
            wanted = _WANTED.get(kinds, "an array of numbers")
            raise FormatError(f"{path}: key {key!r} {problem}, expected {wanted}")
        _check_storage(item, path, key)
        _check_filters(item, path, key)
        _check_written(item, path, key)
        return item


class Stored(Protocol):
    """An array in a file, or one member of its records."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, entries first."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Number of entries."""
        raise NotImplementedError

    def __getitem__(self, index: slice, /) -> NDArray[Any]:
        """Some entries."""
        raise NotImplementedError


def stored(data: Stored, path: Path, key: str, start: int, stop: int) -> NDArray[Any]:
    """Entries ``start`` to ``stop`` of an array, of the type that the file has.

    Raises:
        FormatError: If they cannot be read.
    """
    entries = stop - start
    if isinstance(data, h5py.Dataset) and data.chunks is not None:
        entries += _COPIES * data.chunks[0]
    need = max(0, entries) * _WIDEST * math.prod(data.shape[1:])
    with reading_hdf5(path, key, need + _SPARE):
        values: NDArray[Any] = data[start:stop]
        return values


def numbers(data: Stored, path: Path, key: str, start: int, stop: int) -> Array:
    """Entries ``start`` to ``stop`` of an array, float32.

    Raises:
        FormatError: If they cannot be read, or are too large for float32.
    """
    values = stored(data, path, key, start, stop)
    with np.errstate(all="ignore"):
        narrow: Array = values.astype(np.float32, copy=False)
    if values.dtype.itemsize > narrow.dtype.itemsize:
        lost = np.isinf(narrow) & np.isfinite(values)
        if lost.any():
            raise FormatError(
                f"{path}: key {key!r} holds {values[lost][0]:.6g}, which is beyond the range of 32-bit "
                "floating point (3.4e38)"
            )
    return narrow


def attribute(
    owner: h5py.File | h5py.Dataset, path: Path, name: str
) -> str | int | float | list[Any] | None:
    """An attribute of a file or an array as plain text, number or list, or None where there is none.

    Text may be stored as fixed-length bytes, and a single value as an array of one, as other programs do.

    Raises:
        FormatError: If it cannot be read, or is neither.
    """
    with reading_hdf5(path):
        if name not in owner.attrs:
            return None
        value = owner.attrs[name]
    found = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, bytes):
        found = found.decode("utf-8", "replace")
    if not isinstance(found, str | int | float | list):
        raise FormatError(
            f"{path}: attribute {name!r} is of type {type(value).__name__}, expected text or numbers"
        )
    return found


def merges(found: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether an event of shape ``found`` is one of shape ``axes`` in the same order of its values.

    That is so where neighbouring axes were joined, or axes of length one put in or left out.
    """
    left = [size for size in axes if size != 1]
    for size in (size for size in found if size != 1):
        product = 1
        while product < size and left:
            product *= left.pop(0)
        if product != size:
            return False
    return not left


def _resolve(file: h5py.File, path: Path, key: str) -> str | None:
    """Place of a key in the file itself with all links followed, or None where it is missing."""
    left, at, links, goal = key.split("/"), [""], 0, ""
    while left:
        part = left.pop(0)
        if part in ("", "."):
            continue
        parent = file["/".join(at) or "/"]
        name = part.encode()
        if not isinstance(parent, h5py.Group) or not parent.id.links.exists(name):
            if not links:
                return None
            raise FormatError(
                f"{path}: key {key!r} links to {goal!r}, which is not in the file: get it again"
            )
        kind = parent.id.links.get_info(name).type
        if kind == h5py.h5l.TYPE_HARD:
            at.append(part)
            continue
        if kind == h5py.h5l.TYPE_EXTERNAL:
            raise _out_of_file(path, key, *parent.id.links.get_val(name))
        if kind != h5py.h5l.TYPE_SOFT:
            raise FormatError(f"{path}: key {key!r} is a link of a kind that HDF5 does not know")
        goal, links = parent.id.links.get_val(name).decode("utf-8", "replace"), links + 1
        if links > _HOPS:
            raise FormatError(f"{path}: key {key!r} is a link that leads back to itself")
        at, left = [""] if goal.startswith("/") else at, goal.split("/") + left
    return "/".join(at) or "/"


def _out_of_file(path: Path, key: str, target: bytes, place: bytes) -> FormatError:
    other = os.fsdecode(target)
    gone = "" if os.path.exists(path.parent / other) else ", which is not there"
    return FormatError(
        f"{path}: key {key!r} links to {os.fsdecode(place)!r} of {other}{gone}; links out of a file are not "
        "followed: copy the data into one file"
    )


def _problem(item: object, kinds: str) -> str | None:
    """What is in the place of an array of numbers, or None if it is one."""
    if isinstance(item, h5py.Group):
        return "is a group"
    if not isinstance(item, h5py.Dataset):
        return "is a named type"
    if item.shape is None:
        return "has no values (a null dataspace)"
    if not item.shape:
        return "is a single value"
    return None if item.dtype.kind in kinds else f"holds {_describe(item.dtype)}"


def _describe(kind: np.dtype[Any]) -> str:
    if h5py.check_string_dtype(kind) is not None:
        return "text"
    if h5py.check_ref_dtype(kind) is not None:
        return "references"
    if h5py.check_vlen_dtype(kind) is not None:
        return "lists of unequal length"
    if kind.names:
        return f"records of {', '.join(kind.names[:5])}"
    names = {"b": "booleans", "c": "complex numbers", "S": "text", "V": "opaque values"}
    return names.get(kind.kind, f"values of type {kind}")


def _check_storage(data: h5py.Dataset, path: Path, key: str) -> None:
    """Refuse values that lie in other files."""
    if data.is_virtual:
        others = sorted({source.file_name for source in data.virtual_sources()} - {"."})
        gone = [name for name in others if not os.path.exists(path.parent / name)]
        listed = f"its source {gone[0]} is missing" if gone else f"its values lie in {others[:3]}"
        raise FormatError(
            f"{path}: key {key!r} is a virtual data set, {listed}; other files are not read: copy the "
            "data into one file"
        )
    if data.external:
        raise FormatError(
            f"{path}: the values of key {key!r} lie in another file, {data.external[0][0]}, which is not "
            "read: copy the data into one file"
        )


def _check_filters(data: h5py.Dataset, path: Path, key: str) -> None:
    """Refuse what cannot be decompressed here; the package hdf5plugin is used where it is installed."""
    plan = data.id.get_create_plist()
    codes = [plan.get_filter(number) for number in range(plan.get_nfilters())]
    for code, _, _, name in codes:
        if h5py.h5z.filter_avail(code):
            continue
        if importlib.util.find_spec("hdf5plugin") is not None:
            importlib.import_module("hdf5plugin")  # registers its filters
            if h5py.h5z.filter_avail(code):
                continue
        title = _FILTERS.get(code) or name.decode("utf-8", "replace") or "unknown"
        raise FormatError(
            f"{path}: key {key!r} is compressed with {title} (HDF5 filter {code}), which is not installed: "
            "pip install hdf5plugin, or set HDF5_PLUGIN_PATH to its folder"
        )


def _check_written(data: h5py.Dataset, path: Path, key: str) -> None:
    """Refuse values that were never written, and more of them than the file can hold."""
    if data.size == 0:
        return
    space, size = data.id.get_storage_size(), os.path.getsize(path)
    if data.chunks is not None:
        wanted = math.prod(
            -(-length // step) for length, step in zip(data.shape, data.chunks, strict=True)
        )
        found = data.id.get_num_chunks()
        if found < wanted:
            raise FormatError(
                f"{path}: only {found:,} of {wanted:,} chunks of key {key!r} were ever written, the program "
                "that wrote it was stopped: get it again"
            )
    elif space == 0:
        raise FormatError(
            f"{path}: the values of key {key!r} were never written, the program that wrote it was stopped: "
            "get it again"
        )
    if max(space, 0 if data.chunks else data.nbytes) > size:
        raise FormatError(
            f"{path}: key {key!r} says that it holds {data.nbytes:,} bytes, but the file has {size:,}: it is "
            "damaged, get it again"
        )
