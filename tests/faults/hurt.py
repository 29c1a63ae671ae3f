"""Ways to damage files: bytes of any file, and the structure of HDF5 files."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Hurt = Callable[[Path, random.Random], object]
FRACTIONS = (0.0, 0.001, 0.05, 0.5, 0.9, 0.999)


def flipped(path: Path, rng: random.Random) -> None:
    """One bit at a random place."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def zeroed(path: Path, rng: random.Random) -> None:
    """512 bytes at a random place."""
    _overwritten(path, rng, bytes(512))


def scribbled(path: Path, rng: random.Random) -> None:
    """64 random bytes at a random place."""
    _overwritten(path, rng, rng.randbytes(64))


def _overwritten(path: Path, rng: random.Random, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    start = rng.randrange(max(1, len(data) - len(new)))
    data[start : start + len(new)] = new[: len(data) - start]
    path.write_bytes(data)


def exchanged(path: Path, rng: random.Random) -> None:
    """Two blocks of 256 bytes change places."""
    data = bytearray(path.read_bytes())
    a, b = (rng.randrange(max(1, len(data) - 256)) for _ in range(2))
    data[a : a + 256], data[b : b + 256] = data[b : b + 256], data[a : a + 256]
    path.write_bytes(data)


def cut(fraction: float) -> Hurt:
    """Only the beginning of the file is there."""

    def hurt(path: Path, rng: random.Random) -> None:
        os.truncate(path, int(fraction * path.stat().st_size))

    return hurt


def longer(path: Path, rng: random.Random) -> None:
    """A thousand random bytes behind the end."""
    with path.open("ab") as file:
        file.write(rng.randbytes(1000))


def replaced(contents: bytes) -> Hurt:
    """Something else altogether."""

    def hurt(path: Path, rng: random.Random) -> None:
        path.write_bytes(contents)

    return hurt


FOREIGN: dict[str, bytes] = {
    "html": b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head></html>\n",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
    + bytes(60),
    "zip": b"PK\x03\x04" + bytes(80),
    "signature": b"\x89HDF\r\n\x1a\n",
    "root_signature": b"root\x00\x00\xf6\x90" + bytes(60),
    "one_byte": b"\x00",
    "zeros": bytes(4096),
    "newline": b"\n",
    "latin1": "Wärmefluß;1,5\n".encode("latin-1"),
}


class Hdf5:
    """An HDF5 file that is open to be damaged.

    Args:
        path: The file.
        main: Key of the values.
        condition: Key of one number per event.
    """

    def __init__(self, path: Path, main: str, condition: str) -> None:
        self.path, self.main, self.condition = path, main, condition
        self.file = h5py.File(path, "r+")

    def values(self, key: str) -> np.ndarray:
        return self.file[key][()]

    def put(self, key: str, value: Any, **options: Any) -> None:
        """Put something in the place of a data set."""
        del self.file[key]
        if isinstance(value, np.ndarray):
            self.file.create_dataset(key, data=value, **options)
        else:
            self.file[key] = value

    def change(self, key: str, function: Callable[[np.ndarray], np.ndarray]) -> None:
        """Put other values in the place of a data set."""
        self.put(key, function(self.values(key)))

    def at(self, key: str, value: float, kind: str | None = None) -> None:
        """Put one value in the middle of a data set."""
        values = self.values(key)
        values = values.astype(kind) if kind else values
        flat = values.reshape(-1)
        place = int(np.flatnonzero(flat)[len(np.flatnonzero(flat)) // 2])
        with np.errstate(all="ignore"):
            flat[place] = np.array(value).astype(values.dtype)
        self.put(key, values)


def _virtual(h: Hdf5, gone: bool) -> None:
    values = h.values(h.main)
    half = len(values) // 2
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    for number, part in enumerate((values[:half], values[half:])):
        source = h.path.with_name(f"part{number}.hdf5")
        with h5py.File(source, "w") as file:
            file["x"] = part
        layout[number * half : number * half + len(part)] = h5py.VirtualSource(
            source.name, "x", part.shape
        )
    if gone:
        source.unlink()
    del h.file[h.main]
    h.file.create_virtual_dataset(h.main, layout, fillvalue=0)


def _raw(h: Hdf5) -> None:
    values = h.values(h.main)
    outside = h.path.with_name("raw.bin")
    outside.write_bytes(values.tobytes())
    del h.file[h.main]
    h.file.create_dataset(
        h.main, values.shape, values.dtype, external=[(str(outside), 0, values.nbytes)]
    )


def _filtered(h: Hdf5, number: int) -> None:
    values = h.values(h.main)
    del h.file[h.main]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(values.shape)
    plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
    parent = h.file.require_group(h.main.rpartition("/")[0] or "/")
    data = h5py.h5d.create(
        parent.id,
        h.main.rpartition("/")[2].encode(),
        h5py.h5t.py_create(values.dtype),
        h5py.h5s.create_simple(values.shape),
        plist,
    )
    data.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)


def _unwritten(h: Hdf5, share: float) -> None:
    values = h.values(h.main)
    del h.file[h.main]
    chunks = (max(1, len(values) // 8), *values.shape[1:])
    data = h.file.create_dataset(h.main, values.shape, values.dtype, chunks=chunks)
    upto = int(len(values) * share) // chunks[0] * chunks[0]
    if upto:
        data[:upto] = values[:upto]


def _huge(h: Hdf5, n: int) -> None:
    for key in (h.main, h.condition):
        shape, kind = h.file[key].shape, h.file[key].dtype
        del h.file[key]
        h.file.create_dataset(key, (n, *shape[1:]), kind, chunks=(1, *shape[1:]))


def _link(h: Hdf5, link: Any) -> None:
    del h.file[h.main]
    h.file[h.main] = link


def _elsewhere(h: Hdf5) -> None:
    other = h.path.with_name("other.hdf5")
    with h5py.File(other, "w") as file:
        file["x"] = h.values(h.main)
    _link(h, h5py.ExternalLink(other.name, "/x"))


def _aside(h: Hdf5) -> None:
    h.file["elsewhere/x"] = h.values(h.main)
    _link(h, h5py.SoftLink("/elsewhere/x"))


def _renamed(h: Hdf5, key: str) -> None:
    h.file.move(key, key + "_old")


def _named_type(h: Hdf5) -> None:
    del h.file[h.main]
    h.file[h.main] = np.dtype("f4")


def _reference(h: Hdf5) -> None:
    n = len(h.values(h.main))
    reference = h.file[h.condition].ref
    del h.file[h.main]
    h.file.create_dataset(h.main, (n,), h5py.ref_dtype)[:] = reference


def _ragged(h: Hdf5) -> None:
    values = h.values(h.main)
    del h.file[h.main]
    data = h.file.create_dataset(h.main, (len(values),), h5py.vlen_dtype(np.float32))
    for i, row in enumerate(values):
        data[i] = np.ravel(row).astype("f4")


def _attribute(h: Hdf5, name: str, value: Any) -> None:
    h.file.attrs[name] = value
    h.file[h.main].attrs[name] = value


def _lengths(h: Hdf5, key: str) -> None:
    h.change(key, lambda v: v[:-3])


def _text(h: Hdf5) -> None:
    h.put(h.main, ["a"] * len(h.values(h.main)))


STRUCTURE: dict[str, Callable[[Hdf5], object]] = {
    "missing_values": lambda h: h.file.__delitem__(h.main),
    "missing_condition": lambda h: h.file.__delitem__(h.condition),
    "renamed_values": lambda h: _renamed(h, h.main),
    "renamed_condition": lambda h: _renamed(h, h.condition),
    "extra_key": lambda h: h.file.__setitem__("extra", np.arange(3)),
    "nothing": lambda h: h.file.clear(),
    "wrong_width": lambda h: h.change(h.main, lambda v: v[..., :-1] if v.ndim > 1 else v[:-1]),
    "extra_axis": lambda h: h.change(h.main, lambda v: np.stack([v, v], -1)),
    "scalar": lambda h: h.put(h.main, np.array(3.0)),
    "scalar_condition": lambda h: h.put(h.condition, np.array(3.0)),
    "no_events": lambda h: [h.change(k, lambda v: v[:0]) for k in (h.main, h.condition)],
    "fewer_values": lambda h: _lengths(h, h.main),
    "fewer_conditions": lambda h: _lengths(h, h.condition),
    "double": lambda h: h.change(h.main, lambda v: v.astype("f8" if v.dtype.kind == "f" else "i8")),
    "big_endian": lambda h: h.change(h.main, lambda v: v.astype(v.dtype.newbyteorder(">"))),
    "bytes_type": lambda h: h.change(h.main, lambda v: v.astype("S12")),
    "complex": lambda h: h.change(h.main, lambda v: v.astype("c8")),
    "boolean": lambda h: h.change(h.main, lambda v: v > 0),
    "compound": lambda h: h.put(
        h.main, np.zeros(len(h.values(h.main)), [("a", "f4"), ("b", "i4")])
    ),
    "text": _text,
    "null_dataspace": lambda h: _link(h, h5py.Empty("f4")),
    "null_condition": lambda h: h.put(h.condition, h5py.Empty("f4")),
    "group_in_its_place": lambda h: [h.file.__delitem__(h.main), h.file.create_group(h.main)],
    "type_in_its_place": _named_type,
    "references": _reference,
    "ragged": _ragged,
    "soft_link": _aside,
    "soft_link_gone": lambda h: _link(h, h5py.SoftLink("/gone/x")),
    "soft_link_to_itself": lambda h: _link(h, h5py.SoftLink("/" + h.main)),
    "external_link": _elsewhere,
    "external_link_gone": lambda h: _link(h, h5py.ExternalLink("gone.hdf5", "/x")),
    "external_link_to_itself": lambda h: _link(h, h5py.ExternalLink(h.path.name, "/" + h.main)),
    "external_link_to_a_folder": lambda h: _link(h, h5py.ExternalLink("/tmp", "/x")),
    "loop_of_groups": lambda h: h.file.require_group("loop").__setitem__("back", h.file["/"]),
    "virtual": lambda h: _virtual(h, False),
    "virtual_half_gone": lambda h: _virtual(h, True),
    "raw_storage": _raw,
    "filter_zstd": lambda h: _filtered(h, 32015),
    "filter_blosc2": lambda h: _filtered(h, 32026),
    "filter_unknown": lambda h: _filtered(h, 513),
    "half_written": lambda h: _unwritten(h, 0.5),
    "never_written": lambda h: _unwritten(h, 0.0),
    "huge": lambda h: _huge(h, 10**12),
    "absurd": lambda h: _huge(h, 2**62 // 10**6),
    "odd_attributes": lambda h: _attribute(h, "jet_class", np.array([b"t"])),
    "null_attribute": lambda h: _attribute(h, "jet_class", h5py.Empty("f4")),
    "number_as_attribute": lambda h: _attribute(h, "unit", 7.5),
    "long_attribute": lambda h: _attribute(h, "simulacra_request", "x" * 60000),
    "text_weight": lambda h: h.file.__setitem__("weight", ["a"] * 8),
    "nan_weight": lambda h: h.file.__setitem__(
        "weight", np.full(len(h.values(h.condition)), np.nan)
    ),
    "negative_weight": lambda h: h.file.__setitem__("weight", -np.ones(len(h.values(h.condition)))),
    "short_weight": lambda h: h.file.__setitem__("weight", np.ones(3)),
    "null_weight": lambda h: h.file.__setitem__("weight", h5py.Empty("f4")),
    "group_weight": lambda h: h.file.create_group("weight"),
}
"""What may be wrong with the structure of an HDF5 file."""
VALUES: dict[str, Callable[[Hdf5], object]] = {
    "nan": lambda h: h.at(h.main, np.nan, "f4"),
    "infinity": lambda h: h.at(h.main, np.inf, "f4"),
    "minus_infinity": lambda h: h.at(h.main, -np.inf, "f4"),
    "above_single_precision": lambda h: h.at(h.main, 1e300, "f8"),
    "nan_condition": lambda h: h.at(h.condition, np.nan, "f4"),
    "infinite_condition": lambda h: h.at(h.condition, np.inf, "f4"),
    "condition_above_single_precision": lambda h: h.at(h.condition, 1e300, "f8"),
}
"""Values that are no numbers."""


def _list(h: Hdf5, change: Callable[[np.ndarray], np.ndarray]) -> None:
    rows = h.file[h.main][:]
    rows[1] = change(rows[1].copy())
    h.file[h.main][:] = rows


def _zeros(values: np.ndarray) -> np.ndarray:
    values[8:40] = 0
    return values


def _value(place: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


LISTS: dict[str, Callable[[Hdf5], object]] = {
    "zeroed_points": lambda h: _list(h, _zeros),
    "shorter_list": lambda h: _list(h, lambda v: v[:-4]),
    "list_cut_within_a_point": lambda h: _list(h, lambda v: v[:-1]),
    "empty_list": lambda h: _list(h, lambda v: v[:0]),
    "nan_in_a_list": lambda h: _list(h, _value(7, np.nan)),
    "negative_energy": lambda h: _list(h, _value(7, -1.0)),
    "layer_that_is_none": lambda h: _list(h, _value(6, 1e6)),
    "half_a_layer": lambda h: _list(h, _value(6, 2.5)),
    "far_away": lambda h: _list(h, _value(4, 1e9)),
}
"""What may be wrong with the lists of points of a file of ShowerData."""


def hurt_hdf5(function: Callable[[Hdf5], object], main: str, condition: str) -> Hurt:
    """A damage of the structure as a damage of a file."""

    def hurt(path: Path, rng: random.Random) -> None:
        opened = Hdf5(path, main, condition)
        function(opened)
        opened.file.close()

    return hurt
