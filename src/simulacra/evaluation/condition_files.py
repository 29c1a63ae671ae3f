"""Conditions from files: of events in the format of a data set, or of tables that hold conditions alone.

A table has one row per event and a column for each field that the model is given, under the name of the field
or the key that it has in files of events: HDF5, CSV, Parquet, ``.npz``, or ``.npy`` with the columns in the
order in which the model is given them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import Conditions, Field, FormatError, UserError
from simulacra.data.base import EventDataModule
from simulacra.formats.base import Format
from simulacra.formats.hdf5 import Hdf5Format
from simulacra.formats.table_columns import Column
from simulacra.formats.table_files import SUFFIXES, TableFiles
from simulacra.training import asked
from simulacra.training.generative import GenerativeModule

ARRAYS = (".npy", ".npz")
Rows = Iterator[tuple[Conditions, Tensor | None]]


def of_file(
    module: GenerativeModule,
    datamodule: EventDataModule,
    path: str,
    n: int | None,
    size: int,
    first: int = 0,
) -> Rows:
    """Conditions and weights of the first ``n`` events of a file (None: all), ``size`` at a time, without the
    first ``first``, which are whole chunks.

    Raises:
        UserError: If there is no such file, it holds neither events nor the conditions, or fewer than ``n``.
    """
    if not Path(path).exists():
        raise UserError(f"there is no file {path}")
    left = n
    for number, (cond, weight) in enumerate(_rows(module, datamodule, path, size)):
        most = len(cond) if left is None else min(left, len(cond))
        if number * size >= first:
            yield cond[:most], None if weight is None else weight[:most]
        left = None if left is None else left - most
        if left == 0:
            return
    if left:
        assert n is not None
        raise UserError(f"{path} holds {n - left} events, but n={n} are asked for")


def _rows(module: GenerativeModule, datamodule: EventDataModule, path: str, size: int) -> Rows:
    form, suffix = datamodule.format, Path(path).suffix.lower()
    if suffix in ARRAYS:
        return _of_arrays(module, Path(path), size)
    try:
        form.header(path)
    except FormatError as error:
        keys = _keys(form, module)
        if suffix not in SUFFIXES or not keys:
            raise
        return _of_table(module, path, keys, size, error)
    return _of_events(module, datamodule, path, size)


def _of_events(module: GenerativeModule, datamodule: EventDataModule, path: str, size: int) -> Rows:
    for native in datamodule.format.iterate(path, size):
        batch = datamodule.shown(native)
        yield batch.conditions(module.given), batch.weight


def _keys(form: Format, module: GenerativeModule) -> dict[str, str]:
    """The key of each given field in files of events, its name where it has none."""
    public: Mapping[str, str] = form.fields() if isinstance(form, Hdf5Format) else {}
    return {name: public.get(name, name) for name in module.given}


def _of_table(
    module: GenerativeModule, path: str, keys: dict[str, str], size: int, reason: FormatError
) -> Rows:
    """Rows of a table of conditions; ``reason`` is what is wrong with a file that holds none of them."""
    wide = [field.name for field in module.given_fields if field.dim > 1]
    if wide:
        raise UserError(
            f"{', '.join(wide)} are several numbers each: give a file of events"
        ) from reason
    found: dict[str, str] = {}
    for name in keys:
        for key in dict.fromkeys((keys[name], name)):
            try:
                _table(module, {name: key}).header(path)
            except FormatError:
                continue
            found[name] = key
            break
    if not found:
        raise reason
    table = _table(module, {name: found.get(name, keys[name]) for name in keys})
    for batch in table.iterate(path, size):
        columns = {name: batch.x[:, [i]].numpy() for i, name in enumerate(keys)}
        yield _checked(module, columns, path), None


def _table(module: GenerativeModule, keys: Mapping[str, str]) -> TableFiles:
    """Reader of a table whose only columns are some given fields, without the bounds of generated ones."""
    plain: dict[str, Any] = {
        "low": None,
        "high": None,
        "log": False,
        "periodic": False,
        "role": None,
    }
    fields = {field.name: replace(field, **plain) for field in module.given_fields}
    columns = [Column(fields[name], key) for name, key in keys.items()]
    return TableFiles("the table of conditions", columns)


def _of_arrays(module: GenerativeModule, path: Path, size: int) -> Rows:
    columns = _columns(module, _loaded(path), path)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise FormatError(f"{path}: the columns differ in length, {sorted(lengths)}")
    n = lengths.pop() if lengths else 0
    if not n:
        raise FormatError(f"{path}: the file holds no events")
    for start in range(0, n, size):
        part = {name: column[start : start + size] for name, column in columns.items()}
        yield _checked(module, part, str(path)), None


def _loaded(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            return {name: found[name] for name in found.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{path}: it holds no plain arrays of numbers ({reason})") from error


def _columns(
    module: GenerativeModule, found: NDArray[Any] | dict[str, NDArray[Any]], path: Path
) -> dict[str, NDArray[Any]]:
    """Columns ``(n, dim)`` by name of the field."""
    if not isinstance(found, dict) and found.dtype.names:
        found = {name: found[name] for name in found.dtype.names}
    if isinstance(found, dict):
        missing = [name for name in module.given if name not in found]
        if missing:
            raise FormatError(
                f"{path}: {', '.join(missing)} is missing, found {sorted(found)}, expected "
                f"{list(module.given)}"
            )
        return {
            field.name: _shaped(found[field.name], field, path) for field in module.given_fields
        }
    width = sum(field.dim for field in module.given_fields)
    table = found[:, None] if found.ndim == 1 else found
    if table.ndim != 2 or table.shape[1] != width:
        raise FormatError(
            f"{path}: the array has shape {found.shape}, expected (N, {width}) with the columns "
            f"{list(module.given)}"
        )
    columns, start = {}, 0
    for field in module.given_fields:
        columns[field.name] = table[:, start : start + field.dim]
        start += field.dim
    return columns


def _shaped(array: NDArray[Any], field: Field, path: Path) -> NDArray[Any]:
    column = array[:, None] if array.ndim == 1 else array
    if column.ndim != 2 or column.shape[1] != field.dim:
        raise FormatError(
            f"{path}: {field.name} has shape {array.shape}, expected (N, {field.dim})"
        )
    return column


def _checked(
    module: GenerativeModule, columns: Mapping[str, NDArray[Any]], path: str
) -> Conditions:
    try:
        return asked.conditions(module, columns, {}, None)
    except UserError as error:
        raise FormatError(f"{path}: {error}") from error
