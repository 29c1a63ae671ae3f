"""Every kind of damage to an HDF5 file, in every format: one sentence with the cause."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from hdf5_toys import EVENTS, FORMATS, make, refused


def replaced(value: object) -> Callable[[h5py.File, str], None]:
    """Puts something else in the place of a key."""

    def change(file: h5py.File, key: str) -> None:
        del file[key]
        file[key] = value

    return change


def typed(kind: object) -> Callable[[h5py.File, str], None]:
    """Puts values of another type in the place of a key."""

    def change(file: h5py.File, key: str) -> None:
        del file[key]
        file.create_dataset(key, (EVENTS,), kind)

    return change


def rewritten(**options: object) -> Callable[[h5py.File, str], None]:
    """Stores a key anew, with other options of its data set."""

    def change(file: h5py.File, key: str) -> None:
        shape, kind = file[key].shape, file[key].dtype
        del file[key]
        file.create_dataset(key, shape, kind, **options)

    return change


def virtual(file: h5py.File, key: str) -> None:
    shape, kind = file[key].shape, file[key].dtype
    layout = h5py.VirtualLayout(shape, kind)
    layout[...] = h5py.VirtualSource("gone.h5", "x", shape)
    del file[key]
    file.create_virtual_dataset(key, layout)


def half_written(file: h5py.File, key: str) -> None:
    values = file[key][:]
    del file[key]
    data = file.create_dataset(key, values.shape, values.dtype, chunks=(1, *values.shape[1:]))
    data[: len(values) // 2] = values[: len(values) // 2]


def circle(file: h5py.File, key: str) -> None:
    del file[key]
    file[key], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/" + key)


def unknown_filter(file: h5py.File, key: str) -> None:
    """What a file has whose filter is not installed: its number in the creation properties."""
    data = file[key]
    shape, kind = data.shape, h5py.h5t.py_create(data.dtype)
    del file[key]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk(tuple(max(1, size) for size in shape))
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, key.encode(), kind, space, plan)


ENUM = h5py.enum_dtype({"A": 1})
RECORD = np.zeros(EVENTS, [("a", "f4"), ("b", "i4")])
DAMAGES: dict[str, tuple[Callable[[h5py.File, str], None], str]] = {
    "missing": (lambda f, k: f.__delitem__(k), "is missing, found"),
    "group": (lambda f, k: (f.__delitem__(k), f.create_group(k)), "is a group"),
    "named type": (replaced(np.dtype("f4")), "is a named type"),
    "null": (replaced(h5py.Empty("f4")), "has no values .a null dataspace"),
    "one value": (replaced(1.0), "is a single value"),
    "text": (replaced(["a"] * EVENTS), "holds text"),
    "bytes": (replaced(np.array([b"abc"] * EVENTS)), "holds text"),
    "references": (typed(h5py.ref_dtype), "holds references"),
    "ragged": (typed(h5py.vlen_dtype("f4")), "holds lists of unequal length"),
    "records": (replaced(RECORD), "holds records of a, b"),
    "complex": (replaced(np.zeros(EVENTS, "c8")), "holds complex numbers"),
    "opaque": (replaced(np.zeros(EVENTS, "V5")), "holds (opaque values|.V5, expected records)"),
    "times": (replaced(np.zeros(EVENTS, h5py.opaque_dtype("M8[s]"))), "holds values of type"),
    "soft link": (replaced(h5py.SoftLink("/nope/x")), "links to '/nope/x', which is not in the file"),
    "circle": (circle, "is a link that leads back to itself"),
    "external link": (
        replaced(h5py.ExternalLink("gone.h5", "/x")),
        "links to '/x' of gone.h5, which is not there; links out of a file are not followed",
    ),
    "link to a file that is there": (
        replaced(h5py.ExternalLink("toy_t.h5", "/x")),
        "links to '/x' of toy_t.h5; links out of a file are not followed",
    ),
    "virtual": (virtual, "is a virtual data set, its source gone.h5 is missing"),
    "raw storage": (
        rewritten(external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]),
        "lie in another file, /etc/hostname",
    ),
    "never written": (rewritten(), "were never written"),
    "chunks never written": (rewritten(chunks=True), "only 0 of .* chunks .* were ever written"),
    "half written": (half_written, "only [0-9,]+ of [0-9,]+ chunks"),
    "filter": (unknown_filter, r"compressed with Zstandard .HDF5 filter 32015.*install hdf5plugin"),
}  # fmt: skip


QUICK = ("missing", "null", "text", "circle", "virtual", "half written")
"""Damages that every format is tried with each time; the first format is with all."""


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param(
            name, damage, marks=() if name == "ds1" or damage in QUICK else pytest.mark.faults
        )
        for name in FORMATS
        for damage in DAMAGES
    ],
)
def test_damage_to_a_key_is_one_sentence(name: str, damage: str, tmp_path: Path) -> None:
    form, path, key = make(name, tmp_path)
    change, message = DAMAGES[damage]
    with h5py.File(path, "r+") as file:
        change(file, key)
    refused(form, path, message)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked(goal: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(goal)

    return change


def packed(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncated, "truncated or damaged, get it again"),
    "absent": (Path.unlink, "there is no such file"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty, expected HDF5"),
    "a folder": (folder, "this is a folder, expected a file"),
    "a named pipe": (pipe, "this is a named pipe"),
    "a device": (linked("/dev/zero"), "this is a device"),
    "memory of a process": (linked("/proc/self/mem"), "its disk failed while it was read"),
    "a broken link": (linked("gone.h5"), "it is a link to gone.h5, which is not there"),
    "a link to itself": (linked("toy_t.h5"), "it is a link that leads back to itself"),
    "gzip": (packed, "not an HDF5 file, it is packed by gzip: unpack it"),
    "git-lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
        "it is a pointer of git-lfs",
    ),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html><html>"), "it is a web page"),
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param(
            name, damage, marks=() if name == "ds1" or damage == "truncated" else pytest.mark.faults
        )
        for name in FORMATS
        for damage in FILES
    ],
)
def test_damage_to_a_file_is_one_sentence(name: str, damage: str, tmp_path: Path) -> None:
    form, path, _ = make(name, tmp_path)
    FILES[damage][0](path)
    refused(form, path, FILES[damage][1])
