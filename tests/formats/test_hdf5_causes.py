"""Files that HDF5 cannot read: each cause has its own sentence and remedy."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from hdf5_toys import FORMATS, make, refused
from simulacra.core import FormatError
from simulacra.formats import hdf5_data
from simulacra.formats.hdf5 import open_hdf5


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
