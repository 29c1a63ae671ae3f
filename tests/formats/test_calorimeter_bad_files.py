import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from simulacra.core import FormatError, UserError
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from simulacra.formats.ild import IldGrid, ild

DS1 = CaloChallenge(ds1_photons())


def write(path: Path, energies: object, showers: object) -> None:
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = energies, showers


def energies(n: int = 4) -> np.ndarray:
    return np.full((n, 1), 512.0)


def showers(n: int = 4, voxels: int = 368) -> np.ndarray:
    return np.ones((n, voxels), np.float32)


def with_value(value: float) -> np.ndarray:
    values = showers()
    values[2, 7] = value
    return values


def missing_key(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["incident_energies"] = energies()
        file["shower"] = showers()


def text_key(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["incident_energies"] = energies()
        file["showers"] = ["a", "b", "c", "d"]


def group_key(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["incident_energies"] = energies()
        file.create_group("showers")


def truncated(path: Path) -> None:
    DS1.toy(path, 200)
    os.truncate(path, path.stat().st_size // 2)


def damaged(path: Path) -> None:
    DS1.toy(path, 400)
    with h5py.File(path) as file:
        chunk = file["showers"].id.get_chunk_info(0)
    with path.open("r+b") as stream:
        stream.seek(chunk.byte_offset + 50)
        stream.write(b"\xff" * 200)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing key": (
        missing_key,
        r"key 'showers' is missing, found \['incident_energies', 'shower'\]",
    ),
    "not numbers": (text_key, "key 'showers' holds text, expected an array of numbers"),
    "a group": (group_key, "key 'showers' is a group, expected an array of numbers"),
    "voxel count": (
        lambda p: write(p, energies(), showers(voxels=367)),
        r"\(4, 367\), expected \('N', 368\) for ds1",
    ),
    "lengths": (
        lambda p: write(p, energies(3), showers()),
        "differ in length.*3 in 'incident_energies', 4 in 'showers'",
    ),
    "no events": (lambda p: write(p, energies(0), showers(0)), "holds no events"),
    "NaN": (
        lambda p: write(p, energies(), with_value(np.nan)),
        "key 'showers' holds NaN.*first in event 2",
    ),
    "infinity": (
        lambda p: write(p, energies(), with_value(np.inf)),
        "key 'showers' holds NaN or infinite",
    ),
    "NaN energy": (
        lambda p: write(p, energies() * np.nan, showers()),
        "key 'incident_energies' holds NaN",
    ),
    "negative voxel": (
        lambda p: write(p, energies(), with_value(-3)),
        "negative values .down to -3, first in event 2",
    ),
    "negative energy": (
        lambda p: write(p, -energies(), showers()),
        "holds -512, expected energies above 0 MeV",
    ),
    "GeV": (
        lambda p: write(p, energies() / 1e3, showers()),
        "seems to be in GeV, multiply it by 1000",
    ),
    "truncated": (truncated, "truncated or damaged, get it again"),
    "damaged": (damaged, "key 'showers' cannot be read, the file is damaged"),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty, expected HDF5"),
    "text": (
        lambda p: p.write_text("energy,shower\n1,2\n"),
        "not an HDF5 file, it starts with b'energy,s'",
    ),
    "absent": (lambda p: None, "there is no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.hdf5"
    make, message = BAD[case]
    make(path)
    with pytest.raises(FormatError, match=message) as caught:
        DS1.check(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_wide_range_in_gev_is_recognised_too(tmp_path: Path) -> None:
    write(tmp_path / "gev.hdf5", np.array([[0.256], [4194.304]]), showers(2))
    with pytest.raises(FormatError, match=r"runs from 0\.256 to 4194\.3, .*in GeV"):
        DS1.header(tmp_path / "gev.hdf5")


def test_gev_data_in_mev_are_recognised(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "ild.hdf5", "w") as file:
        file["30x30/energy"], file["30x30/layers"] = np.full((1, 1), 5e4), np.zeros((1, 30, 30, 30))
    with pytest.raises(FormatError, match=r"seems to be in MeV, multiply it by 0\.001"):
        IldGrid(ild(), "30x30").header(tmp_path / "ild.hdf5")


def test_energies_beside_the_published_range_are_taken_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "low.hdf5", np.array([[100.0], [5000.0]]), showers(2))
    assert DS1.check(tmp_path / "low.hdf5").ranges["incident_energy"] == (100.0, 5000.0)


def test_energies_of_one_dimension_and_double_precision_are_read(tmp_path: Path) -> None:
    write(tmp_path / "flat.hdf5", energies()[:, 0], showers().astype(np.float64))
    batch = DS1.read(tmp_path / "flat.hdf5")
    assert batch.cond["incident_energy"].shape == (4, 1)
    assert str(batch.x.dtype) == "torch.float32"


def test_negative_points_are_refused(tmp_path: Path) -> None:
    events = np.zeros((1, 4, 6000), np.float32)
    events[0, 3, -1] = -1
    with h5py.File(tmp_path / "cloud.hdf5", "w") as file:
        file["energy"], file["events"] = np.full((1, 1), 50.0), events
    with pytest.raises(FormatError, match="holds negative energies"):
        CaloCloud(ild_cloud()).check(tmp_path / "cloud.hdf5")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_writer_leaves_what_was_there(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "target.hdf5"
    DS1.toy(path, 3)
    before, batch = path.read_bytes(), DS1.read(path)

    def stop_halfway() -> None:
        with DS1.writer(path) as writer:
            writer.append(batch)
            raise error

    with pytest.raises(error):
        stop_halfway()
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["target.hdf5"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may not grow beyond 200 kB: what a full disk does to a writer, with another number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, small_files: None
) -> None:
    batch = DS1.read(_many(tmp_path / "toy"))
    (tmp_path / "full").mkdir()

    def fill() -> None:
        with DS1.writer(tmp_path / "full" / "out.hdf5") as writer:
            for _ in range(40):
                writer.append(batch)

    with pytest.raises(
        UserError, match=f"cannot write .*out.hdf5: {os.strerror(errno.EFBIG)}; no part of it"
    ):
        fill()
    assert list((tmp_path / "full").iterdir()) == []


def _many(folder: Path) -> Path:
    folder.mkdir()
    DS1.toy(folder / "toy.hdf5", 60)
    return folder / "toy.hdf5"


def test_a_writer_needs_a_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"the folder .* does not exist"),
        DS1.writer(tmp_path / "no" / "out.hdf5"),
    ):
        pass
