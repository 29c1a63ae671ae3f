"""All that an HDF5 file holds, whoever wrote it: arrays with shapes and types, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py

from simulacra.core import FormatError
from simulacra.formats.hdf5_data import attribute, open_hdf5

LONGEST = 300
"""Letters of an attribute that are kept."""


@dataclass(frozen=True)
class Contents:
    """What is in a file.

    Args:
        arrays: Shape and type of each array by its key.
        notes: Attributes of the file that are texts or numbers, cut where they are long.
    """

    arrays: dict[str, tuple[tuple[int, ...], str]]
    notes: dict[str, str]


def contents(path: Path | str) -> Contents | None:
    """What a file holds; None if it is none of HDF5.

    Raises:
        FormatError: If it is missing, or damaged.
    """
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        return None
    arrays: dict[str, tuple[tuple[int, ...], str]] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = tuple(item.shape or ()), _type(item)

    with open_hdf5(path) as file:
        file.visititems(note)
        notes = {name: _text(file, Path(path), name) for name in file.attrs}
    return Contents(arrays, {name: text for name, text in notes.items() if text is not None})


def _type(item: h5py.Dataset) -> str:
    inner = h5py.check_vlen_dtype(item.dtype)
    return str(item.dtype) if inner is None else f"lists of {inner}"


def _text(file: h5py.File, path: Path, name: str) -> str | None:
    try:
        found = " ".join(str(attribute(file, path, name)).split())
    except FormatError:
        return None
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}..."
