"""Every kind of damage to an HDF5 file, in every format: one sentence with the cause."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from simulacra.core import FormatError
from simulacra.formats import hdf5_data
from simulacra.formats.base import Format
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from simulacra.formats.calogan import CaloGan, calogan
from simulacra.formats.hdf5 import open_hdf5
from simulacra.formats.ild import IldGrid, ild_10x10
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetnet import JetNetFormat, jetnet
from simulacra.formats.lemurs import Lemurs, lemurs
from simulacra.formats.pxd import PxdFormat, pxd_small
from simulacra.formats.showerdata import ShowerData, showerdata
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles

FORMATS: dict[str, tuple[Callable[[], Format], str]] = {
    "ds1": (lambda: CaloChallenge(ds1_photons()), "showers"),
    "calogan": (lambda: CaloGan(calogan()), "layer_1"),
    "ild": (lambda: IldGrid(ild_10x10(), "10x10", "30x30"), "10x10/layers"),
    "clouds": (lambda: CaloCloud(ild_cloud()), "events"),
    "jetnet": (lambda: JetNetFormat(jetnet(30, ["t"]), ["t"]), "particle_features"),
    "jetclass": (lambda: JetClassFormat(jetclass(["QCD"]), ["QCD"]), "part_energy"),
    "pxd": (lambda: PxdFormat(pxd_small()), "charge"),
    "lemurs": (lambda: Lemurs(lemurs()), "events"),
    "showerdata": (lambda: ShowerData(showerdata(points=40)), "num_points"),
    "table": (lambda: TableFiles("small", columns_of({"x": {}, "y": {}})), "x"),
}
EVENTS = 3


def make(name: str, folder: Path) -> tuple[Format, Path, str]:
    form, key = FORMATS[name][0](), FORMATS[name][1]
    form.toy(folder / "toy_t.h5", EVENTS)
    return form, folder / "toy_t.h5", key


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


def refused(form: Format, path: Path, message: str) -> None:
    for read in (form.header, form.read, form.check):
        with pytest.raises(FormatError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


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


def test_a_name_that_no_file_can_have_is_one_sentence() -> None:
    form = FORMATS["ds1"][0]()
    for name in ("x" * 300 + ".hdf5", "a\0b.hdf5"):
        with pytest.raises(FormatError, match="no file can have such a name"):
            form.header(name)


def test_a_locked_file_names_the_remedy(tmp_path: Path) -> None:
    form, path, _ = make("ds1", tmp_path)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(form, path, "it is locked.*HDF5_USE_FILE_LOCKING=FALSE")
    form.check(path)


def test_a_file_whose_writer_was_killed_names_the_remedy(tmp_path: Path) -> None:
    code = "f = h5py.File(sys.argv[1], 'w', libver='latest'); f['x'] = 1; f.flush(); os._exit(0)"
    run = [sys.executable, "-c", f"import h5py, os, sys; {code}", str(tmp_path / "toy.h5")]
    subprocess.run(run, check=True)
    refused(FORMATS["ds1"][0](), tmp_path / "toy.h5", "not finished, or was stopped.*h5clear -s")


def test_a_file_of_others_is_not_called_damaged(tmp_path: Path) -> None:
    form, path, _ = make("ds1", tmp_path)
    path.chmod(0)
    tmp_path.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(FormatError, match="it may not be read: ask its owner"):
            form.header(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("Unable to allocate 3 TiB"), "there is not enough memory to read it"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is not enough memory to read it"),
        (OSError(errno.EIO, "Input/output error"), "its disk failed while it was read"),
        (OSError("Can't synchronously read data (inflate() failed)"), "cannot be read.*is damaged"),
    ],
)
def test_what_happens_in_the_middle_of_a_file_is_told_apart(
    error: Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, path, _ = make("ds1", tmp_path)
    parts = form.iterate(path, 1)
    next(parts)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(h5py.Dataset, "__getitem__", fails)
    with pytest.raises(FormatError, match=message) as caught:
        next(parts)
    assert str(caught.value).startswith(f"{path}: ")


def test_errors_of_filters_without_memory_are_those_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, path, _ = make("ds1", tmp_path)

    def fails(*_: object) -> None:
        raise OSError("Can't synchronously read data (filter returned failure during read)")

    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(h5py.Dataset, "__getitem__", fails)
    refused(form, path, "cannot be read, the file is damaged")
    monkeypatch.setattr(hdf5_data.np, "empty", short)
    refused(form, path, "there is not enough memory to read it")


@pytest.mark.faults
def test_memory_that_ran_out_within_a_filter_is_not_called_damage(tmp_path: Path) -> None:
    """HDF5 says the same of both: the limit is set so that the array fits, and what unpacks it does not."""
    code = """
import resource, sys
from simulacra.core import FormatError
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
form = CaloChallenge(ds1_photons())
form.read(sys.argv[1])
pages = int(open("/proc/self/statm").read().split()[0])
for megabytes in range(1, 40):
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    try:
        form.read(sys.argv[1])
    except FormatError as error:
        print(error)
"""
    path = tmp_path / "large.hdf5"
    values = np.random.default_rng(0).random((3000, 368), np.float32)
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.full((3000, 1), 512.0)
        file.create_dataset("showers", data=values, chunks=values.shape, compression="gzip")
    run = [sys.executable, "-c", code, str(path)]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(said) > 3
    assert {"not enough memory" in line for line in said} == {True}


def test_a_mistake_of_our_own_keeps_its_traceback(tmp_path: Path) -> None:
    _, path, _ = make("ds1", tmp_path)
    with pytest.raises(TypeError), open_hdf5(path):
        len(3)  # type: ignore[arg-type]  # the mistake


def test_a_declared_size_that_the_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    form, path, key = make("ds1", tmp_path)
    with h5py.File(path, "r+") as file:
        for name in (key, "incident_energies"):
            kind, shape = file[name].dtype, file[name].shape[1:]
            del file[name]
            file.create_dataset(name, (2**40, *shape), kind)
    refused(form, path, "were never written")


def test_filters_are_named_and_read_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, path, key = make("ds1", tmp_path)
    known = h5py.h5z.filter_avail
    monkeypatch.setattr(hdf5_data.h5py.h5z, "filter_avail", lambda code: code != 1 and known(code))
    refused(
        form, path, f"key '(incident_energies|{key})' is compressed with deflate .HDF5 filter 1."
    )
    monkeypatch.setitem(sys.modules, "hdf5plugin", ModuleType("hdf5plugin"))
    sys.modules["hdf5plugin"].__spec__ = ModuleSpec("hdf5plugin", None)

    def register(name: str) -> None:
        assert name == "hdf5plugin"
        monkeypatch.setattr(hdf5_data.h5py.h5z, "filter_avail", known)

    monkeypatch.setattr(hdf5_data.importlib, "import_module", register)
    form.check(path)


def test_numbers_beyond_32_bits_are_named(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    form, path, key = make("ds1", tmp_path)
    with h5py.File(path, "r+") as file:
        values = file[key][:].astype(np.float64)
        values[1, 2] = 1e40
        del file[key]
        file[key] = values
    with pytest.raises(FormatError, match=r"holds 1e\+40, which is beyond the range of 32-bit"):
        form.check(path)
    assert not len(recwarn)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("ds1", "incident_energies", "holds 3e\\+38, but 256 to 4.1943e\\+06 MeV are usual"),
        ("ild", "10x10/energy", "holds 3e\\+38, but 10 to 100 GeV are usual"),
        ("clouds", "energy", "holds 3e\\+38, but 10 to 90 GeV are usual"),
        ("calogan", "overflow", "holds 3e\\+38, but up to 1e\\+12 MeV are usual"),
        ("jetnet", "jet_features", "holds 3e\\+38"),
        ("jetclass", "jet_pt", "holds 3e\\+38, but up to 1e\\+09 GeV are usual"),
    ],
)
def test_energies_that_no_detector_sees_are_refused(
    name: str, key: str, message: str, tmp_path: Path
) -> None:
    form, path, _ = make(name, tmp_path)
    with h5py.File(path, "r+") as file:
        values = file[key][:]
        values[1:2] = 3e38
        file[key][...] = values
    with pytest.raises(FormatError, match=message):
        form.header(path)
