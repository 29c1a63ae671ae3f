"""Geant4 itself, each test in child processes of its own."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulacra.core import UserError
from simulacra.core.detector import Detector, detector
from simulacra.deploy.children import children
from simulacra.deploy.geant4 import tables
from simulacra.deploy.geant4.entrance import Taken
from simulacra.deploy.geant4.events import Simulated, digitised, fast, full
from simulacra.deploy.geant4.showers import Geant4Showers
from simulacra.deploy.geant4.simulation import Physics
from simulacra.deploy.placing import Placer
from simulacra.deploy.primaries import Primaries, shot
from simulacra.deploy.production import Plan, produce
from simulacra.deploy.readout import Voxels
from simulacra.formats.produced import ProducedShowers, produced

pytestmark = [
    pytest.mark.geant4,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("geant4_pybind") is None,
        reason="Geant4 is not installed: pip install 'simulacra[geant4]'",
    ),
]


def crystal(**changes: object) -> Detector:
    """A block of lead tungstate in polar cells."""
    given = {
        "name": "crystal",
        "sections": [{"plates": [["G4_PbWO4", 20.0]], "active": [0], "repeat": 10, "per_layer": 2}],
        "cells": [{"axes": ["alpha", "r"], "counts": [4, 5], "sizes": [10.0]}],
        "gun": {"energy": [0.5, 2.0]},
        **changes,
    }
    return detector(**given)  # type: ignore[arg-type]  # a description


def slow(values: tuple) -> object:
    """One of a row of cases that only the grid runs: each starts a process."""
    return pytest.param(*values, marks=pytest.mark.grid)


def simulator(made: Detector, **physics: object) -> Geant4Showers:
    return Geant4Showers(ProducedShowers(produced(made)), made, Voxels(), Physics(**physics))  # type: ignore[arg-type]


def of_scorings(made: Detector, energy: float) -> dict[str, np.ndarray]:
    """The same showers by cells and by steps, in one process each."""
    gun = replace(made.gun, energy=(energy, energy))
    primaries = shot(gun, 60, np.random.default_rng(1))
    found = {}
    for kind in ("cells", "steps"):
        with children(1) as worker:
            same = replace(made, readout=kind, gun=gun)  # type: ignore[arg-type]  # one of both
            found[kind] = worker.run(full, same, Physics(), primaries, 3).cells
    return found


@pytest.mark.grid
@pytest.mark.timeout(900)
def test_showers_are_those_of_their_seeds_and_both_ways_to_read_agree(tmp_path: Path) -> None:
    made = crystal()
    for name, processes in (("a.hdf5", 1), ("b.hdf5", 2)):
        produce(simulator(made), Plan(30, 10, 5, processes), tmp_path / name, lambda n: None)
    format = ProducedShowers(produced(made))
    a, b = (format.read(tmp_path / name) for name in ("a.hdf5", "b.hdf5"))
    assert np.array_equal(a.x.numpy(), b.x.numpy())
    response = a.x.flatten(1).sum(1) / a.cond["incident_energy"][:, 0]
    assert 0.8 < float(response.mean()) < 1.0  # 22 radiation lengths, 2.5 Molière radii
    found = of_scorings(made, 1000.0 / 1e3)
    means, errors = (
        {kind: f(cells.sum(1)) for kind, cells in found.items()}
        for f in (np.mean, lambda x: np.std(x) / len(x) ** 0.5)
    )
    assert abs(means["cells"] - means["steps"]) < 4 * np.hypot(*errors.values())
    angular = found["steps"].reshape(60, 5, 4, 5).sum((0, 1, 3))
    assert np.all(np.abs(angular / angular.mean() - 1) < 0.1)
    profiles = [cells.reshape(60, 5, -1).sum(2).mean(0) for cells in found.values()]
    assert np.allclose(profiles[0] / profiles[1], 1, atol=0.15)


class Uniform:
    """A generator without a network: all of the energy in the first ring of the third layer."""

    taken = Taken(("gamma",), 100.0, 5000.0)

    def placer(self, made: Detector) -> Placer:
        return Placer(made.geometry, made.geometry, made.layer_depths)

    def showers(self, primaries: Primaries, seed: int) -> np.ndarray:
        energies = np.zeros((len(primaries), 100))
        energies[:, 40:60:5] = primaries.energy[:, None] / 4
        return energies


def both(made: Detector, primaries: Primaries, every: int) -> Simulated:
    with children(1) as worker:
        return worker.run(fast, made, Physics(), primaries, Uniform(), 7, every)


def test_particles_are_taken_at_the_front_and_their_showers_come_back() -> None:
    made = crystal()
    primaries = shot(replace(made.gun, x=(-5, 5)), 12, np.random.default_rng(2), most=3)
    mixed = primaries.particle.copy()
    mixed[0] = "e-"  # of a kind that is not taken: simulated in full
    primaries = replace(primaries, particle=mixed)
    found = both(made, primaries, 5)
    assert found.generated == len(primaries) - 1
    first = found.cells[0].reshape(5, -1).sum(1)
    own = primaries.event == 0
    generated = primaries.energy[own].sum() - primaries.energy[0]
    assert first[0] > 0
    assert first[2] > generated
    rest = found.cells[1:].reshape(-1, 5, 20)
    asked = np.bincount(primaries.event, primaries.energy)[1:]
    assert rest[:, 2].sum(1) == pytest.approx(asked)
    assert rest[:, [0, 1, 3, 4]].sum() == 0
    assert np.all(found.seconds > 0)


def test_noise_and_thresholds_act_on_the_sum() -> None:
    cells = np.full((200, 50), 1.0)
    noisy = digitised(cells, 0.5, 1.2, np.random.default_rng(0))
    assert set(np.unique(noisy < 1.2)) == {True, False}
    assert np.all((noisy == 0) | (noisy >= 1.2))
    assert digitised(cells, 0.0, 0.0, np.random.default_rng(0)) is cells


REFUSED = [
    ({"gun": {"particle": "pi+"}}, {}, r"'pi\+' cannot be simulated"),
    ({"sections": [{"plates": [["G4_U", 20.0]], "active": [0]}]}, {}, "no tables.*Z = 92"),
    ({"sections": [{"plates": [["lead", 20.0]], "active": [0]}]}, {}, "no material 'lead'"),
    ({}, {"name": "FTFP_BERT"}, "official data sets"),
    ({}, {"name": "Nothing"}, "no physics 'Nothing'"),
]


@pytest.mark.parametrize(("change", "physics", "said"), [REFUSED[0], *map(slow, REFUSED[1:])])
def test_what_geant4_would_die_of_is_one_sentence(
    change: dict, physics: dict, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        produce(
            simulator(crystal(**change), **physics),
            Plan(5, 5, 1),
            tmp_path / "a.hdf5",
            lambda n: None,
        )
    assert list(tmp_path.iterdir()) == []


def test_tables_are_the_users_own_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tables.find({}).small
    own = tmp_path / ".geant4_pybind" / "G4EMLOW8.8"
    for name in ("brem_SB", "livermore"):
        (own / name).mkdir(parents=True)
    assert tables.find({}).electromagnetic == own
    assert not tables.find({}).hadronic
    assert tables.find({"GEANT4_DATA_DIR": str(tables.small_folder())}).small
    assert tables.find({"G4LEDATA": str(own)}).folder == own.parent
    (own.parent / "G4NDL4.7").mkdir()
    assert tables.find({}).hadronic
    with pytest.raises(UserError, match=r"GEANT4_DATA_DIR=.*holds no Geant4 tables"):
        tables.find({"GEANT4_DATA_DIR": str(tmp_path)})
