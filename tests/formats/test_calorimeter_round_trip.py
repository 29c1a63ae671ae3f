from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons, ds1_pions, ds2, ds3
from simulacra.formats.calogan import PARTICLES, CaloGan, calogan
from simulacra.formats.hdf5 import Hdf5Format
from simulacra.formats.ild import IldGrid, ild, ild_10x10, ild_angles
from simulacra.formats.lemurs import Lemurs, lemurs
from simulacra.formats.showerdata import ShowerData, showerdata

FORMATS: dict[str, Hdf5Format] = {
    "ds1_photons": CaloChallenge(ds1_photons()),
    "ds1_pions": CaloChallenge(ds1_pions()),
    "ds2": CaloChallenge(ds2()),
    "ds3": CaloChallenge(ds3()),
    "ild": IldGrid(ild(), "30x30"),
    "ild_10x10": IldGrid(ild_10x10(), "10x10", "30x30"),
    "ild_angles": IldGrid(ild_angles(), "ecal"),
    "calogan": CaloGan(calogan()),
    "calogan_3": CaloGan(calogan(PARTICLES)),
    "ild_cloud": CaloCloud(ild_cloud()),
    "lemurs": Lemurs(lemurs()),
    "showerdata": ShowerData(showerdata()),
    "showerdata_5": ShowerData(showerdata(time=True, particles=(22, 211)), (22, 211)),
}


def assert_equal(first: Batch, second: Batch) -> None:
    assert torch.equal(first.x, second.x)
    for one, other in ((first.cond, second.cond), (first.event, second.event)):
        assert one.keys() == other.keys()
        assert all(
            torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype
            for name in one
        )
    assert (first.mask is None) == (second.mask is None)
    assert first.mask is None or second.mask is None or torch.equal(first.mask, second.mask)


@pytest.mark.parametrize("name", FORMATS)
def test_reading_what_was_written_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    format = FORMATS[name]
    info = format.toy(tmp_path / "toy.hdf5", 7, seed=3)
    batch = format.read(tmp_path / "toy.hdf5")
    with format.writer(tmp_path / "copy.hdf5", {"model": "none", "n": 7}) as writer:
        writer.append(batch[0:3])
        writer.append(batch[3:7])
    assert_equal(batch, format.read(tmp_path / "copy.hdf5"))
    assert format.check(tmp_path / "copy.hdf5").shapes == info.shapes
    format.spec.validate(batch)
    assert len(batch) == info.n == 7
    with h5py.File(tmp_path / "copy.hdf5") as file:
        assert {"model": "none", "n": 7}.items() <= dict(file.attrs).items()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.hdf5", "toy.hdf5"]


@pytest.mark.parametrize("name", FORMATS)
def test_toys_hold_energies_of_the_published_range_and_hit_some_cells(
    name: str, tmp_path: Path
) -> None:
    format = FORMATS[name]
    info = format.toy(tmp_path / "toy.hdf5", 20, seed=1)
    field = format.spec.field("incident_energy")
    low, high = info.ranges["incident_energy"]
    assert field.low is not None
    assert field.high is not None
    assert field.low <= low < high <= field.high
    batch = format.read(tmp_path / "toy.hdf5")
    hits = (batch.x > 0 if batch.mask is None else batch.mask).flatten(1).sum(1)
    assert bool((hits > 0).all())


@pytest.mark.parametrize("name", ["ds2", "ild_cloud", "calogan_3", "lemurs", "showerdata_5"])
def test_pieces_of_a_file_join_to_the_whole(name: str, tmp_path: Path) -> None:
    format = FORMATS[name]
    format.toy(tmp_path / "toy.hdf5", 7)
    whole = format.read(tmp_path / "toy.hdf5")
    assert_equal(whole, Batch.cat(list(format.iterate(tmp_path / "toy.hdf5", 3))))
    assert_equal(whole[2:5], format.read(tmp_path / "toy.hdf5", 2, 5))


def test_voxels_of_the_challenge_run_over_layer_then_angle_then_radius(tmp_path: Path) -> None:
    showers = np.zeros((1, 6480), np.float32)
    showers[0, (7 * 16 + 3) * 9 + 5] = 2.0
    with h5py.File(tmp_path / "one.hdf5", "w") as file:
        file["incident_energies"], file["showers"] = np.full((1, 1), 5e3), showers
    assert FORMATS["ds2"].read(tmp_path / "one.hdf5").x[0].nonzero().tolist() == [[7, 3, 5]]


def test_points_stand_last_in_the_file_and_first_in_the_batch(tmp_path: Path) -> None:
    events = np.zeros((1, 4, 6000), np.float32)
    events[0, :, -2:] = [[1, 2], [3, 4], [5, 6], [7, 8]]
    with h5py.File(tmp_path / "one.hdf5", "w") as file:
        file["energy"], file["events"] = np.full((1, 1), 50.0), events
    batch = FORMATS["ild_cloud"].read(tmp_path / "one.hdf5")
    assert batch.mask is not None
    assert batch.x[0, :2].tolist() == [[1, 3, 5, 7], [2, 4, 6, 8]]
    assert batch.mask[0].tolist() == [True, True] + 5998 * [False]
    FORMATS["ild_cloud"].write(tmp_path / "again.hdf5", batch)
    with h5py.File(tmp_path / "again.hdf5") as file:
        assert np.array_equal(file["events"][:], events)


def test_clouds_with_points_before_columns_are_the_same_showers(tmp_path: Path) -> None:
    form = FORMATS["ild_cloud"]
    form.toy(tmp_path / "old.hdf5", 3)
    with h5py.File(tmp_path / "old.hdf5") as old, h5py.File(tmp_path / "new.hdf5", "w") as new:
        new["energy"], new["events"] = old["energy"][:], old["events"][:].transpose(0, 2, 1)
        new["p_norm_local"] = np.zeros((3, 2))
    assert_equal(form.read(tmp_path / "old.hdf5"), form.read(tmp_path / "new.hdf5"))
    assert form.check(tmp_path / "new.hdf5").remarks == ()


def test_the_small_ild_grid_is_the_middle_of_the_large_one(tmp_path: Path) -> None:
    FORMATS["ild"].toy(tmp_path / "large.hdf5", 3)
    large, small = (FORMATS[name].read(tmp_path / "large.hdf5").x for name in ("ild", "ild_10x10"))
    assert torch.equal(small, large[:, :, 10:20, 10:20])
    middle, all_of_it = (FORMATS[name].spec.geometry for name in ("ild_10x10", "ild"))
    assert middle is not None
    assert all_of_it is not None
    expected = all_of_it.layers[0].centres()[0][10:20]
    torch.testing.assert_close(middle.layers[0].centres()[0], expected)


def test_the_file_name_tells_the_particle_where_no_key_does(tmp_path: Path) -> None:
    FORMATS["calogan"].toy(tmp_path / "gamma.hdf5", 3)
    assert FORMATS["calogan_3"].read(tmp_path / "gamma.hdf5").cond["particle"].tolist() == [
        [1],
        [1],
        [1],
    ]
    (tmp_path / "gamma.hdf5").rename(tmp_path / "unknown.hdf5")
    with pytest.raises(
        FormatError, match=r"unknown\.hdf5: neither key 'particle' nor the file's name"
    ):
        FORMATS["calogan_3"].read(tmp_path / "unknown.hdf5")


def test_unknown_particles_are_refused() -> None:
    with pytest.raises(UserError, match="eplus, gamma, piplus, got"):
        calogan(["muon"])
