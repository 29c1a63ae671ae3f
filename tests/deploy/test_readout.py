from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from simulacra.core import UserError
from simulacra.core.detector import Detector, Gun, detector
from simulacra.core.instantiate import instantiate
from simulacra.deploy.geant4.build import target
from simulacra.deploy.geant4.source import OfModule
from simulacra.deploy.primaries import Primaries, shot
from simulacra.deploy.readout import Points, Voxels, cell_of, conditions
from simulacra.evaluation import config
from simulacra.formats.binning import polar, read_binning, write_binning
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.formats.calochallenge import ds2
from simulacra.formats.calogan import calogan
from simulacra.formats.ild import ild, ild_angles
from simulacra.formats.produced import ProducedShowers, produced
from simulacra.formats.showerdata import showerdata
from support import family_of
from support import made as built


def named(name: str) -> Detector:
    return instantiate(config.compose("produce", [f"detector={name}"]).detector)


def steps(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 5)


def test_steps_fall_into_the_cells_of_a_polar_layer() -> None:
    layer = ds2().geometry.layers[0]
    angles = np.linspace(-math.pi, math.pi, 40)[:-1] + 1e-3
    cell = cell_of(layer, 6.0 * np.cos(angles), 6.0 * np.sin(angles))
    assert cell.tolist() == [9 * int((a + math.pi) / (2 * math.pi) * 16) + 1 for a in angles]
    assert cell_of(layer, np.array([41.9]), np.array([0.0])) == -1
    assert cell_of(layer, np.array([-1.0]), np.array([-0.0]))[0] % 9 == 0


def test_energy_in_cells_and_beside_them_is_all_there_is() -> None:
    made = named("pb_lar")
    rng = np.random.default_rng(0)
    n = 500
    found = np.column_stack(
        [rng.integers(0, 4, n), rng.exponential(1, n), *rng.normal(0, 150, (2, n)), np.zeros(n)]
    )
    spec = produced(made)
    batch = Voxels().of_steps(spec, made, [found, found[:10]])
    seen = np.abs(found[:, 2]) < np.array([225, 225.6, 225, 225])[found[:, 0].astype(int)]
    seen &= np.abs(found[:, 3]) < np.array([294, 294, 220.8, 220.8])[found[:, 0].astype(int)]
    assert float(batch.x[0].sum()) == pytest.approx(found[seen, 1].sum(), rel=1e-5)
    sums = spec.geometry.layer_sums(batch.x)[0]
    for layer in range(4):
        own = seen & (found[:, 0] == layer)
        assert float(sums[layer]) == pytest.approx(found[own, 1].sum(), rel=1e-5)


def test_slices_of_depth_and_what_lies_beside_the_cells_of_calogan() -> None:
    made = named("calogan")
    found = steps(
        (0, 1.0, 0, 0, 89.9), (0, 2.0, 0, 0, 90.0), (0, 4.0, 250, 0, 100), (0, 8.0, 0, 0, 479)
    )
    batch = Voxels().of_steps(calogan(), made, [found])
    assert calogan().geometry.layer_sums(batch.x)[0].tolist() == [1.0, 2.0, 8.0]
    assert batch.event["overflow"].tolist() == [[0.0, 4.0, 0.0]]


def test_points_are_small_cells_around_the_point_of_entry() -> None:
    made = named("ild")
    readout = Points(0.848, (0.0, 40.0), (-75.912, -37.0))
    found = steps((3, 1.0, 0.1, 0.3, 0), (3, 2.0, 0.2, 0.4, 0), (1, 4.0, 5.0, 0, 0))
    batch = readout.of_steps(ild_cloud(), made, [found])
    assert batch.mask.sum() == 2
    x, layer, z, e = batch.x[0, :2].T
    assert layer.tolist() == [1, 3]
    assert e.tolist() == pytest.approx([4e-3, 3e-3])  # GeV
    assert float((x - torch.tensor([5.0, 0.15])).abs().max()) < 0.848
    assert float((z - 40).abs().max()) < 0.848
    with pytest.raises(UserError, match="room for 1"):
        Points().of_steps(showerdata(points=1), made, [found])


def test_a_data_set_of_other_layers_is_refused() -> None:
    with pytest.raises(UserError, match="ds2 has 45 layers, the detector ild 30"):
        Voxels().of_steps(ds2(), named("ild"), [steps()])
    with pytest.raises(UserError, match="holds no voxels"):
        Voxels().scoring(ild_cloud(), named("ild"))


def test_cells_are_scored_where_they_are_the_voxels() -> None:
    made = named("pb_lar")
    assert Voxels().scoring(produced(made), made) == "cells"
    assert Voxels().scoring(produced(made), replace(made, readout="steps")) == "steps"
    assert Voxels((1.0, 0.0)).scoring(produced(made), made) == "steps"


def test_conditions_are_those_of_the_particles() -> None:
    gun = Gun("e+", (2, 4), "uniform", theta=(10, 30), phi=(0, 360), x=(-5, 5), y=(1, 2))
    found = shot(gun, 200, np.random.default_rng(1))
    assert np.allclose(np.square(found.direction).sum(1), 1)
    assert 10 <= found.theta.min() < 12 < 28 < found.theta.max() <= 30
    assert np.all((found.entry >= [-5, 1]) & (found.entry <= [5, 2]))
    assert np.all(found.position[:, 2] == -1.0)
    cond = conditions(ild(), found)
    assert 2 <= float(cond["incident_energy"].min()) < 2.2
    several = showerdata(particles=(22, 11, -11))
    cond = conditions(several, found)
    assert set(cond["particle"].ravel().tolist()) == {2}
    assert torch.allclose(cond["direction"].double(), torch.from_numpy(found.direction), atol=1e-6)
    with pytest.raises(UserError, match="is one of gamma, piplus, and e\\+ is none"):
        conditions(calogan(("gamma", "piplus")), found)
    angles = conditions(ild_angles(), found, polar=True)["theta"][:, 0].double().numpy()
    assert np.allclose(np.cos(np.radians(angles)), found.direction[:, 0])


def test_events_have_one_to_most_particles() -> None:
    found = shot(Gun(energy=(1, 20)), 3000, np.random.default_rng(1), most=3)
    counts = np.bincount(found.event, minlength=3000)
    assert np.allclose(np.bincount(counts)[1:] / 3000, 1 / 3, atol=0.05)
    later = found.of(1000, 1500)
    assert later.events == 500
    assert len(later) == counts[1000:1500].sum()
    assert isinstance(later, Primaries)
    logs = np.log(found.energy / 1e3)
    assert abs(np.mean(logs) - np.log(20) / 2) < 0.05


def test_a_detector_reads_angles_back(tmp_path) -> None:
    made = detector(
        "d",
        [{"plates": [["G4_Pb", 1.0]], "active": [0]}],
        [{"axes": ["x", "y"], "counts": [2, 3], "sizes": [5, 5]}],
        gun={"theta": [0, 20], "phi": [0, 360]},
    )
    format = ProducedShowers(produced(made))
    assert [field.name for field in format.spec.conditions] == ["incident_energy", "theta", "phi"]
    format.toy(tmp_path / "a.hdf5", 5)
    batch = format.read(tmp_path / "a.hdf5")
    format.write(tmp_path / "b.hdf5", batch)
    again = format.read(tmp_path / "b.hdf5")
    assert torch.equal(batch.cond["theta"], again.cond["theta"])
    assert float(batch.cond["phi"].max()) > 20


def test_points_of_entry_that_differ_are_conditions_of_a_detectors_own_data_set(tmp_path) -> None:
    chosen = ["detector=calogan", "detector.data=null", "detector.gun.x=[-20,20]"]
    made = instantiate(config.compose("produce", chosen).detector)
    format, readout = target(made, None)
    assert [field.name for field in format.spec.conditions] == ["incident_energy", "entry_x"]
    found = shot(made.gun, 300, np.random.default_rng(0))
    cond = conditions(format.spec, found)
    entry = cond["entry_x"][:, 0].double().numpy()
    assert np.allclose(entry, found.entry[:, 0], atol=1e-5)
    assert -20 <= entry.min() < -18 < 18 < entry.max() <= 20
    assert readout.scoring(format.spec, made) == "steps"
    format.toy(tmp_path / "a.hdf5", 5)
    batch = format.read(tmp_path / "a.hdf5")
    assert float(batch.cond["entry_x"].abs().max()) <= 20
    assert family_of("calogan").accepts(format.spec) is None


def test_a_generator_that_is_given_points_of_entry_is_not_placed_by_a_simulation() -> None:
    chosen = ["detector=calogan", "detector.data=null", "detector.gun.x=[-20,20]"]
    made = instantiate(config.compose("produce", chosen).detector)
    spec = target(made, None)[0].spec
    with pytest.raises(UserError, match="given entry_x makes showers at their points of entry"):
        OfModule(built("calogan", spec), ("e+",), 0.0)


def test_cells_of_rings_are_written_as_a_binning_file_that_is_read_back(tmp_path) -> None:
    made = named("par04").geometry
    assert polar(made)
    write_binning(tmp_path / "own.xml", made, "e-")
    again = read_binning(tmp_path / "own.xml")
    assert [(a.id, a.axes, a.edges, a.periodic) for a in again.layers] == [
        (b.id, b.axes, b.edges, b.periodic) for b in made.layers
    ]
    assert not polar(named("pb_lar").geometry)
