"""Files that other programs write a little differently, without loss: they are read as the usual ones are."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons, ds2
from simulacra.formats.calogan import PARTICLES, CaloGan, calogan
from simulacra.formats.hdf5_data import merges
from simulacra.formats.ild import IldGrid, ild_10x10
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetnet import JetNetFormat, jetnet
from simulacra.formats.pxd import PxdFormat, pxd_small

TOPS = JetNetFormat(jetnet(30, ["t"]), ["t"])
BOTH = JetNetFormat(jetnet(30, ["g", "t"]), ["g", "t"])


def replace(path: Path, key: str, values: np.ndarray) -> None:
    with h5py.File(path, "r+") as file:
        del file[key]
        file[key] = values


@pytest.mark.parametrize(
    ("found", "axes", "same"),
    [
        ((6480,), (45, 16, 9), True),
        ((45, 16, 9), (45, 16, 9), True),
        ((1, 45, 16, 9), (45, 16, 9), True),
        ((45, 144), (45, 16, 9), True),
        ((720, 9, 1), (45, 16, 9), True),
        ((9, 16, 45), (45, 16, 9), False),
        ((16, 45, 9), (45, 16, 9), False),
        ((90, 72), (45, 16, 9), False),
        ((6480, 2), (45, 16, 9), False),
        ((0,), (45, 16, 9), False),
        ((), (1,), True),
    ],
)
def test_axes_are_joined_only_in_their_order(
    found: tuple[int, ...], axes: tuple[int, ...], same: bool
) -> None:
    assert merges(found, axes) == same


@pytest.mark.parametrize("shape", [(45, 16, 9), (1, 45, 16, 9), (45, 144), (6480, 1)])
def test_showers_that_were_not_flattened_are_read(shape: tuple[int, ...], tmp_path: Path) -> None:
    form, path = CaloChallenge(ds2()), tmp_path / "ds2.hdf5"
    form.toy(path, 2)
    right = form.read(path)
    replace(path, "showers", right.x.reshape(2, *shape).numpy())
    assert torch.equal(form.read(path).x, right.x)
    assert form.check(path).n == 2
    replace(path, "showers", right.x.reshape(2, 9, 16, 45).numpy())
    with pytest.raises(FormatError, match=r"expected \('N', 6480\) or \('N', 45, 16, 9\) for ds2"):
        form.read(path)


def test_a_grid_may_be_flat(tmp_path: Path) -> None:
    form, path = IldGrid(ild_10x10(), "10x10", "30x30"), tmp_path / "ild.hdf5"
    form.toy(path, 2)
    right = form.read(path)
    replace(path, "10x10/layers", right.x.reshape(2, -1).numpy())
    assert torch.equal(form.read(path).x, right.x)


def test_soft_links_within_a_file_are_followed(tmp_path: Path) -> None:
    form, path = CaloChallenge(ds1_photons()), tmp_path / "ds1.hdf5"
    form.toy(path, 2)
    right = form.read(path)
    with h5py.File(path, "r+") as file:
        file.move("showers", "deep/events")
        file["showers"] = h5py.SoftLink("deep/again")
        file["deep/again"] = h5py.SoftLink("events")
    assert torch.equal(form.read(path).x, right.x)


def test_points_that_stand_before_their_columns_are_read(tmp_path: Path) -> None:
    form, path = CaloCloud(ild_cloud()), tmp_path / "clouds.hdf5"
    form.toy(path, 3)
    right = form.read(path)
    with h5py.File(path) as file:
        events = file["events"][:].transpose(0, 2, 1)
    replace(path, "events", events)
    found = form.read(path)
    assert torch.equal(found.x, right.x)
    assert torch.equal(found.mask, right.mask)
    replace(path, "events", events[:, -4500:])  # points stand last, after zeros
    assert torch.equal(form.read(path).x, right.x)
    assert form.check(path).shapes["events"] == (3, 4500, 4)


def test_fewer_particles_are_padded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.hdf5"
    TOPS.toy(path, 4)
    with h5py.File(path) as file:
        particles = file["particle_features"][:, :20]
        jets = file["jet_features"][:]
    jets[:, 3] = particles[..., 3].sum(1)
    replace(path, "particle_features", particles)
    replace(path, "jet_features", jets)
    batch = TOPS.read(path)
    assert batch.x.shape == (4, 30, 3)
    assert torch.equal(batch.x[:, :20], torch.from_numpy(particles[..., :3]))
    assert bool((batch.x[:, 20:] == 0).all())
    assert TOPS.check(path).n == 4
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{path}: its events have room for 20 points, which differs from the usual 30: "
        "the rest counts as empty"
    ]
    replace(path, "particle_features", np.zeros((4, 40, 4), np.float32))
    with pytest.raises(FormatError, match=r"shape \(4, 40, 4\), expected \('N', 30, 4\)"):
        TOPS.read(path)


def test_fewer_particles_of_jetclass_are_padded(tmp_path: Path) -> None:
    form, path = JetClassFormat(jetclass(["QCD"]), ["QCD"]), tmp_path / "jets.h5"
    form.toy(path, 3)
    with h5py.File(path, "r+") as file:
        for key in [key for key in file if key.startswith("part_")]:
            values = file[key][:, :60]
            del file[key]
            file[key] = values
    batch = form.read(path)
    assert batch.x.shape == (3, 128, 13)
    assert batch.mask is not None
    assert int(batch.mask.sum(1).max()) <= 60


@pytest.mark.parametrize("value", [np.bytes_(b"t"), "t", np.array(["t"], object), [b"t"]])
def test_a_class_may_be_stored_as_bytes_or_as_a_list_of_one(value: object, tmp_path: Path) -> None:
    TOPS.toy(tmp_path / "a.hdf5", 3)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file.attrs["jet_class"] = value
    assert TOPS.check(tmp_path / "a.hdf5").n == 3
    with pytest.raises(FormatError, match="jets of class 't', expected g"):
        JetNetFormat(jetnet(30, ["g"]), ["g"]).read(tmp_path / "a.hdf5")


def test_attributes_of_hits_and_generated_jets_may_be_lists_of_one(tmp_path: Path) -> None:
    hits = PxdFormat(pxd_small())
    hits.toy(tmp_path / "pxd.hdf5", 2)
    jets = JetClassFormat(jetclass(["QCD"]), ["QCD"])
    jets.toy(tmp_path / "jets.h5", 2)
    for path in (tmp_path / "pxd.hdf5", tmp_path / "jets.h5"):
        with h5py.File(path, "r+") as file:
            for name, value in list(file.attrs.items()):
                if np.ndim(value) == 0:
                    text = isinstance(value, str)
                    file.attrs[name] = np.array([value.encode() if text else value])
    assert hits.check(tmp_path / "pxd.hdf5").n == jets.check(tmp_path / "jets.h5").n == 2


def test_showers_of_another_particle_are_refused(tmp_path: Path) -> None:
    positrons, path = CaloGan(calogan(), ["eplus"]), tmp_path / "gamma_1.hdf5"
    CaloGan(calogan()).toy(path, 3)
    with pytest.raises(FormatError, match="is named after gamma, expected eplus"):
        positrons.read(path)
    path.rename(tmp_path / "eplus.hdf5")
    assert positrons.check(tmp_path / "eplus.hdf5").n == 3


def test_numbers_of_particles_are_those_of_the_writer(tmp_path: Path) -> None:
    every, path = CaloGan(calogan(PARTICLES)), tmp_path / "some.hdf5"
    every.toy(path, 5)
    for other in (CaloGan(calogan()), CaloGan(calogan(["piplus", "gamma", "eplus"]))):
        with pytest.raises(FormatError, match="holds showers of eplus, gamma, piplus by number"):
            other.read(path)
    with h5py.File(path, "r+") as file:
        file["particle"][0] = 0.5
    with pytest.raises(FormatError, match="'particle' holds numbers that are not whole"):
        every.read(path)


def jets(n: int, classes: int, seed: int = 0) -> Batch:
    from simulacra.formats.jetnet import toy_jets

    return toy_jets(BOTH.spec, n, seed, classes)


def test_files_of_an_earlier_set_do_not_mix_into_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "jets.hdf5"
    BOTH.write(path, jets(20, 2))
    first = (tmp_path / "jets_g.hdf5").read_bytes()
    assert len(BOTH.read(path)) == 20
    tops = jets(20, 2, seed=1)
    BOTH.write(path, tops[tops.cond["jet_class"][:, 0] == 1])
    assert [item.name for item in tmp_path.iterdir()] == ["jets_t.hdf5"]
    assert bool((BOTH.read(path).cond["jet_class"] == 1).all())
    (tmp_path / "jets_g.hdf5").write_bytes(first)
    for read in (BOTH.header, BOTH.read, BOTH.check):
        with pytest.raises(FormatError, match=r"not of the same set as .*, but of another"):
            read(path)


def test_a_set_knows_its_members(tmp_path: Path) -> None:
    path = tmp_path / "jets.hdf5"
    BOTH.write(path, jets(20, 2))
    (tmp_path / "jets_g.hdf5").unlink()
    with pytest.raises(FormatError, match=r"jets_g\.hdf5: this file is missing, the others of its"):
        BOTH.read(path)
    assert len(TOPS.read(tmp_path / "jets_t.hdf5")) < 20


def test_a_set_takes_the_place_of_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "jets.hdf5"
    TOPS.toy(path, 7)
    BOTH.write(path, jets(20, 2))
    assert not path.exists()
    assert len(BOTH.read(path)) == 20


def test_files_of_others_are_neither_mixed_in_nor_removed(tmp_path: Path) -> None:
    TOPS.toy(tmp_path / "jets_t.hdf5", 3)
    with pytest.raises(UserError, match=r"jets_t\.hdf5 lies beside it, and would count as part"):
        BOTH.write(tmp_path / "jets.hdf5", jets(20, 2))
    assert [item.name for item in tmp_path.iterdir()] == ["jets_t.hdf5"]
    JetNetFormat(jetnet(30, ["g"]), ["g"]).toy(tmp_path / "jets_g.hdf5", 4)
    assert len(BOTH.read(tmp_path / "jets.hdf5")) == 7
