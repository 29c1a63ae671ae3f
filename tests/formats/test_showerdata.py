"""Files of the package ``showerdata``: what it writes is read here, and the reverse."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import showerdata as package
import torch

from simulacra import data
from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.showerdata import ShowerData, showerdata
from support import composed

PHOTONS = ShowerData(showerdata(points=40))
TIMED = ShowerData(showerdata(points=40, time=True))
TWO = ShowerData(showerdata(points=40, particles=(22, 211)), (22, 211))


def showers(columns: int = 4, pdg: object = 22, n: int = 6) -> package.Showers:
    """Showers of 0 to 40 points, the last with the most, as the package makes them."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0.1, 30, (n, 40, columns)).astype(np.float32)
    points[..., 2] = rng.integers(0, 30, (n, 40))
    for shower, count in zip(points, [0, 1, 7, 20, 33, 40], strict=True):
        shower[count:] = 0
    directions = rng.normal(size=(n, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return package.Showers(points, rng.uniform(10, 90, (n, 1)), pdg, directions)


@pytest.mark.parametrize(("form", "columns"), [(PHOTONS, [0, 1, 2, 3]), (TIMED, [0, 1, 2, 4, 3])])
def test_the_packages_files_are_read_and_written_back_equal(
    form: ShowerData, columns: list[int], tmp_path: Path
) -> None:
    theirs = showers(len(columns))
    package.save(theirs, tmp_path / "theirs.h5")
    batch = form.read(tmp_path / "theirs.h5")
    assert np.array_equal(batch.x.numpy(), theirs.points[..., columns])
    assert np.array_equal(batch.cond["incident_energy"].numpy(), theirs.energies)
    assert np.array_equal(batch.cond["direction"].numpy(), theirs.directions)
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [0, 1, 7, 20, 33, 40]
    with form.writer(tmp_path / "ours.h5") as writer:
        writer.append(batch[:2])
        writer.append(batch[2:])
    assert package.load(tmp_path / "ours.h5") == theirs
    assert package.get_file_shape(tmp_path / "ours.h5") == (6, 40, len(columns))


def test_pieces_that_the_package_writes_one_by_one_are_read(tmp_path: Path) -> None:
    theirs = showers()
    with package.ShowerDataFile(tmp_path / "pieces.h5", "w", shape=(6, 40, 4)) as file:
        file[0:3] = theirs[0:3]
        file[3:6] = theirs[3:6]
    assert np.array_equal(PHOTONS.read(tmp_path / "pieces.h5").x.numpy(), theirs.points)
    assert np.array_equal(PHOTONS.read(tmp_path / "pieces.h5", 2, 5).x.numpy(), theirs.points[2:5])


def test_several_particles_are_a_condition_and_others_are_refused(tmp_path: Path) -> None:
    theirs = showers(pdg=[22, 211, 22, 22, 211, 22])
    package.save(theirs, tmp_path / "two.h5")
    batch = TWO.read(tmp_path / "two.h5")
    assert batch.cond["particle"][:, 0].tolist() == [0, 1, 0, 0, 1, 0]
    TWO.write(tmp_path / "ours.h5", batch)
    assert package.load(tmp_path / "ours.h5") == theirs
    with pytest.raises(FormatError, match=r"PDG number 211.*data\.format\.particles=\[22, 211\]"):
        PHOTONS.header(tmp_path / "two.h5")
    with pytest.raises(UserError, match="of the particles"):
        ShowerData(showerdata(particles=(22, 211)), (22,))


def test_a_time_is_left_out_where_it_is_not_asked_for_and_missed_where_it_is(
    tmp_path: Path,
) -> None:
    theirs = showers(5)
    package.save(theirs, tmp_path / "five.h5")
    package.save(showers(4), tmp_path / "four.h5")
    found = PHOTONS.read(tmp_path / "five.h5").x.numpy()
    assert np.array_equal(found, theirs.points[..., :4])
    with pytest.raises(FormatError, match=r"4 columns.*data\.format\.spec\.time=false"):
        TIMED.read(tmp_path / "four.h5")


def changed(file: h5py.File, column: int, value: float) -> None:
    """Another value in the first point of shower 1."""
    points = file["showers"][1]
    points[column] = value
    file["showers"][1] = points


@pytest.mark.parametrize("layer", [-1.0, 30.0, 2.5])
def test_points_beside_the_layers_are_told(
    layer: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package.save(showers(), tmp_path / "beside.h5")
    with h5py.File(tmp_path / "beside.h5", "a") as file:
        changed(file, 2, layer)
    PHOTONS.read(tmp_path / "beside.h5")
    assert "the layer of 1 points differs from 0, 1 ... 29" in caplog.text


def test_points_of_no_energy_in_a_file_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package.save(showers(), tmp_path / "zero.h5")
    with h5py.File(tmp_path / "zero.h5", "a") as file:
        changed(file, 3, 0.0)
    assert int(PHOTONS.read(tmp_path / "zero.h5").mask.sum()) == 100
    assert "1 of " in caplog.text
    assert "have no energy" in caplog.text


def test_points_without_energy_are_none(tmp_path: Path) -> None:
    x = torch.zeros(1, 40, 4)
    x[0, :3] = torch.tensor([[1.0, 2, 3, 0], [4, 5, 6, 0.5], [7, 8, 9, 0.25]])
    mask = torch.arange(40)[None] < 3
    cond = {"incident_energy": torch.full((1, 1), 50.0), "direction": torch.eye(3)[2:]}
    PHOTONS.write(tmp_path / "one.h5", Batch(x, cond, mask=mask))
    assert package.load(tmp_path / "one.h5").points[0].tolist() == [[4, 5, 6, 0.5], [7, 8, 9, 0.25]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.__delitem__("showers"), "key 'showers' is missing"),
        (lambda f: f["num_points"].__setitem__(2, 8), "shower 2 has 28 numbers.*8 points"),
        (lambda f: f["shape"].__setitem__(2, 7), r"key 'shape' is \[6, 40, 7\]"),
        (lambda f: f["num_points"].__setitem__(5, 41), r"41 points.*data\.format\.spec\.points=41"),
        (lambda f: f["showers"].__setitem__(1, [1, 2, 3, np.nan]), "NaN or infinite.*event 1"),
        (lambda f: f["showers"].__setitem__(1, [1, 2, 3, -1e-3]), "'showers' holds negative"),
        (lambda f: changed(f, 2, 1e6), "key 'showers' holds 1e"),
        (lambda f: changed(f, 0, 1e7), "key 'showers' holds 1e"),
        (lambda f: f["energies"].__setitem__(0, 0), "expected energies above 0 GeV"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "bad.h5"
    package.save(showers(), path)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(FormatError, match=message) as caught:
        PHOTONS.check(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_units_layers_and_points_are_settings_of_the_data_set(tmp_path: Path) -> None:
    settings = ["unit=MeV", "layers=78", "points=100", "particles=[11]", "energies=[1,200]"]
    config = composed(
        "data", "data=showerdata", *(f"data.format.spec.{setting}" for setting in settings)
    )
    module = data.build(config)
    package.save(showers(pdg=11), tmp_path / "electrons.h5")
    batch = module.format.read(tmp_path / "electrons.h5")
    assert (batch.x.shape, module.spec.unit) == ((6, 100, 4), "MeV")
    assert set(module.observables(batch)) >= {"cog_layer", "energy_layers_9", "n_hit"}
    layer = module.spec.features[2]
    assert (layer.name, layer.high) == ("layer", 77)


def test_observables_see_layer_numbers_and_rings_around_the_axis() -> None:
    module = data.build(composed("data", "data=showerdata"))
    x = torch.zeros(1, 6000, 4)
    x[0, :3] = torch.tensor([[1.0, 1, 4, 0.003], [1, 1, 4, 0.001], [-50, 1, 29, 0.004]])
    cond = {"incident_energy": torch.full((1, 1), 50.0), "direction": torch.eye(3)[2:]}
    found = module.observables(Batch(x, cond, mask=x[..., -1] > 0))
    assert found["n_hit"].tolist() == [2]
    assert found["cog_layer"].item() == pytest.approx(16.5)
    assert found["e_tot"].item() == pytest.approx(8.0)
    assert found["energy_layers_1"].item() == pytest.approx(4.0)
    assert found["energy_layers_9"].item() == pytest.approx(4.0)
    assert found["energy_ring_0"].item() == pytest.approx(4.0)


@pytest.mark.parametrize("counts", [[0], [3], [0, 0], [5, 5, 5]])
def test_lists_of_equal_length_are_written(counts: list[int], tmp_path: Path) -> None:
    mask = torch.arange(40) < torch.tensor(counts)[:, None]
    x = torch.where(mask[..., None], torch.arange(1.0, 5), 0.0)
    n = len(counts)
    cond = {"incident_energy": torch.full((n, 1), 50.0), "direction": torch.eye(3)[[2] * n]}
    PHOTONS.write(tmp_path / "equal.h5", Batch(x, cond, mask=mask))
    assert torch.equal(PHOTONS.read(tmp_path / "equal.h5").x, x)
    assert len(package.load(tmp_path / "equal.h5")) == n
