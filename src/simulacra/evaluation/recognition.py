"""Which data sets a file may belong to: those whose formats find in it what they need."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import simulacra.formats
from simulacra import data
from simulacra.core import FormatError, UserError
from simulacra.data.base import EventDataModule
from simulacra.evaluation import config as tree
from simulacra.formats.base import FileInfo, Format
from simulacra.formats.hdf5_contents import contents
from simulacra.physics.base import ObservableSet

SHOWN = 8
"""Keys of an unknown file that a message names."""


@dataclass(frozen=True)
class Known:
    """A format that reads a file.

    Args:
        name: The data set as the command line names it, or the format that no data set has.
        form: The format.
        info: What it found.
        observables: Of the data set, or None.
    """

    name: str
    form: Format
    info: FileInfo
    observables: ObservableSet | None

    @property
    def surplus(self) -> int:
        """How far the numbers that the file holds per event are from those of the data set."""
        held = sum(prod(shape[1:]) for shape in self.info.shapes.values())
        return abs(held - self.form.spec.n_voxels)


def recognise(path: Path | str) -> list[Known]:
    """All that read a file, the closest first.

    Data sets are tried as they are configured, then with their ``variants``, then formats that need no
    settings and belong to no data set. The events themselves are not read.

    Raises:
        FormatError: If nothing reads it; the message says what it holds.
    """
    there = Path(path)
    if not there.exists():
        raise FormatError(f"{path}: there is no such file")
    held = contents(path)  # a damaged file is no file of any format
    configs = tree.load_choices("data", tree.choices("data"))
    single = {name: entry for name, entry in configs.items() if not entry.get("sets")}
    found = [item for name, entry in single.items() if (item := _data_set(name, entry, there))]
    if not found:
        changed = ((n, e) for name, entry in single.items() for n, e in variants(name, entry))
        found = [item for name, entry in changed if (item := _data_set(name, entry, there))]
    if not found:
        found = [item for form in plain_formats() if (item := _format(form, there))]
    if not found:
        keys = {} if held is None else held.arrays
        listed = ", ".join(f"{key} {shape}" for key, (shape, _) in list(keys.items())[:SHOWN])
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        has = f"it holds {listed}{more}" if keys else "it is no HDF5 file with arrays"
        raise FormatError(
            f"{path}: no data set reads it, {has}; data=NAME says why one of them does not, and data=table "
            "data.columns={...} reads any columns"
        )
    return sorted(found, key=lambda item: item.surplus)


def named(datamodule: EventDataModule, path: Path | str) -> Known:
    """A file that is said to be of a data set.

    Raises:
        FormatError: If it is not.
    """
    form = datamodule.format
    return Known(form.spec.name, form, form.header(path), datamodule.observables)


def variants(name: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A data set with other values of the settings that its ``variants`` name, and how they are typed."""
    for key, values in (entry.get("variants") or {}).items():
        for value in values:
            changed = deepcopy(dict(entry))
            *above, last = key.split(".")
            place = changed
            for part in above:
                place = place[part]
            place[last] = value
            typed = f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
            yield f"{name} data.{key}={typed}", changed


def plain_formats() -> Iterator[Format]:
    """Formats that are made without any settings."""
    for module in pkgutil.iter_modules(simulacra.formats.__path__):
        members = vars(importlib.import_module(f"simulacra.formats.{module.name}")).values()
        for kind in members:
            own = inspect.isclass(kind) and kind.__module__ == f"simulacra.formats.{module.name}"
            if own and issubclass(kind, Format) and not inspect.isabstract(kind):
                needed = inspect.signature(kind).parameters.values()
                if all(item.default is not item.empty for item in needed):
                    yield kind()


def _data_set(name: str, entry: Mapping[str, Any], path: Path) -> Known | None:
    datamodule = data.build(entry)
    try:
        info = datamodule.format.header(path)
    except UserError:
        return None
    return Known(name, datamodule.format, info, datamodule.observables)


def _format(form: Format, path: Path) -> Known | None:
    try:
        return Known(type(form).__name__, form, form.header(path), None)
    except UserError:
        return None
