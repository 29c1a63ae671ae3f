"""Chunks of each process: what physics says of them, and that they depend on their seed alone."""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException

from simulacra.core import Batch, UserError
from simulacra.core.instantiate import instantiate
from simulacra.deploy.production import Simulator
from simulacra.deploy.pythia import simulator as module
from simulacra.deploy.pythia.clustering import Jets
from simulacra.deploy.pythia.collisions import silent
from simulacra.deploy.pythia.jetnet import JetNetProcess, clouds
from simulacra.deploy.pythia.particles import Particles, momentum
from simulacra.deploy.pythia.simulator import PythiaSimulator
from support import CONF

pythia = pytest.mark.skipif(
    not all(map(find_spec, module.PACKAGES)),
    reason="Pythia and FastJet are not installed: extra 'jets'",
)


def made(*overrides: str) -> PythiaSimulator:
    """The simulator of a configuration, as the command composes it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("produce", ["simulator=pythia", *overrides])
    found = instantiate(config.simulator, Simulator, asked=config)
    assert isinstance(found, PythiaSimulator)
    return found


@cache
def chunk(*overrides: str, n: int = 20, seed: int = 5) -> Batch:
    simulator = made(*overrides)
    simulator.open()
    batch = simulator.run(0, n, seed)
    simulator.format.spec.validate(batch)
    assert len(batch) == n
    return batch


def same(one: Batch, two: Batch) -> bool:
    return all(
        np.array_equal(a, b)
        for a, b in zip(one.numpy().values(), two.numpy().values(), strict=True)
    )


FAST = "process.settings=['PartonLevel:MPI = off']"
TOPS = ("process=jetnet", "process.classes=[t]", "process.particles=150", FAST)


@pythia
def test_a_chunk_depends_on_its_seed_alone() -> None:
    """Also after other chunks, in a process that has got its simulator in a pickle."""
    first = chunk(*TOPS)
    other = pickle.loads(pickle.dumps(made(*TOPS)))
    other.open()
    assert not same(other.run(1, 2, 6), first[:2])
    assert same(other.run(2, len(first), 5), first)


@pythia
def test_jets_are_those_of_the_selection_and_relative_to_their_axis() -> None:
    jets = chunk(*TOPS)
    assert jets.mask is not None
    pt, eta = jets.event["pt"], jets.event["eta"]
    assert ((pt > 800) & (pt < 1600)).all()
    assert (eta.abs() < 3).all()
    assert ((jets.event["mass"] > 30) & (jets.event["mass"] < 500)).all()
    assert jets.event["mass"].median() == pytest.approx(173, abs=30)
    share, phi = jets.x[..., 2], jets.x[..., 1]
    assert (share.diff(dim=1) <= 0).all()
    whole = jets.mask.sum(1) < 150  # none of their particles is left out
    assert whole.any()
    along, across = (share * phi.cos()).sum(1), (share * phi.sin()).sum(1)
    assert along[whole] == pytest.approx(1, abs=1e-4)
    assert across[whole] == pytest.approx(0, abs=1e-4)
    up = (share * (jets.x[..., 0] + eta).sinh() * jets.mask).sum(1)  # pz of the jet
    assert up[whole].numpy() == pytest.approx(eta.sinh()[whole, 0].numpy(), abs=1e-3)


def test_a_cloud_holds_the_hardest_particles_of_the_whole_jet() -> None:
    momenta = momentum(
        np.array([30.0, 20, 10]), np.array([0.1, 0.2, 0.0]), np.array([3.1, -3.1, 3.0]), np.zeros(3)
    )
    particles = Particles(momenta, np.array([3]), np.zeros(3, int), np.zeros((3, 3)))
    jet = Jets(momenta.sum(0)[None], np.array([1]), np.arange(3), np.array([3]))
    two = clouds(particles, jet, 2)
    assert two.event["num_particles"].item() == 2
    whole = momenta.sum(0)
    assert two.event["mass"].item() == pytest.approx(
        np.sqrt(whole[3] ** 2 - (whole[:3] ** 2).sum()), rel=1e-5
    )
    pt, phi = np.hypot(*whole[:2]), np.arctan2(whole[1], whole[0])
    eta = np.arcsinh(whole[2] / pt)
    expected = [[0.1 - eta, 3.1 - phi, 30 / pt], [0.2 - eta, 2 * np.pi - 3.1 - phi, 20 / pt]]
    assert (two.x[0, :, [0, 2]].numpy() - np.array(expected)[:, [0, 2]]) == pytest.approx(
        0, abs=1e-6
    )
    turned = np.angle(np.exp(1j * np.array(expected)[:, 1]))
    assert two.x[0, :, 1].numpy() == pytest.approx(turned, abs=1e-6)


def test_only_jets_near_a_parton_of_their_own_event_match() -> None:
    process = JetNetProcess(30, ["g"], 0.8, [990, 1010], [800, 1600], 3, 0.8)
    zeros, ones = np.zeros(3), np.ones(3)
    jets = Jets(
        momentum(900 * ones, zeros, np.array([3.1, 0.0, 0.0]), zeros),
        np.array([1, 2]),
        np.zeros(0, int),
        zeros.astype(int),
    )
    partons = Particles(  # two of the first event, the second of them where the others' jets are
        momentum(900 * ones, np.array([0.0, 0.0, 0.9]), np.array([-3.1, 0.0, 0.0]), zeros),
        np.array([2, 1]),
        np.full(3, 21),
        np.zeros((3, 3)),
    )
    assert process._matched(jets, partons).tolist() == [True, False, False]
    assert not process._matched(jets, partons[np.zeros(3, bool)]).any()


@pythia
def test_events_of_a_resonance_have_its_mass_and_two_hard_jets() -> None:
    events = chunk("process=lhco", "process.fraction=1", n=20)
    assert (events.cond["label"] == 1).all()
    x = events.x.double().reshape(20, 2, 7)
    pt = x[..., :2].norm(dim=-1)
    assert (pt[:, 0] > 1200).all()
    assert (pt[:, 0] >= pt[:, 1]).all()
    assert (torch.asinh(x[:, 0, 2] / pt[:, 0]).abs() < 2.5).all()
    energy = (x[..., :3].square().sum(-1) + x[..., 3] ** 2).sqrt().sum(1)
    m_jj = (energy**2 - x[..., :3].sum(1).square().sum(-1)).sqrt()
    assert m_jj.median() == pytest.approx(3480, abs=60)
    assert ((x[..., 4] >= x[..., 5]) & (x[..., 5] >= x[..., 6])).all()
    light, heavy = x[..., 3].sort(dim=1).values.T
    assert light.median() == pytest.approx(100, abs=15)
    assert heavy.median() == pytest.approx(500, abs=40)


@pythia
def test_particles_come_with_the_features_of_the_same_events() -> None:
    features = chunk("process=lhco", n=8)
    events = chunk("process=lhco", "process.particles=true", n=8)
    assert events.mask is not None
    both = torch.cat(list(events.event.values()), 1)
    assert torch.equal(both, features.x)
    assert torch.equal(events.cond["label"], features.cond["label"])
    pt, eta, phi = events.x.double().unbind(-1)
    assert (pt.diff(dim=1) <= 0).all()
    assert ((pt > 0) == events.mask).all()
    for row in range(8):  # the leading jet is what lies near its axis
        jet = features.x[row, :3].double()
        away = torch.hypot(
            eta[row] - torch.asinh(jet[2] / jet[:2].norm()),
            torch.remainder(phi[row] - torch.atan2(jet[1], jet[0]) + np.pi, 2 * np.pi) - np.pi,
        )
        near = events.mask[row] & (away < 1)
        total = torch.hypot(
            (pt[row] * phi[row].cos())[near].sum(), (pt[row] * phi[row].sin())[near].sum()
        )
        assert total == pytest.approx(jet[:2].norm().item(), rel=0.05)


@pythia
def test_six_quarks_make_two_tops_and_balance() -> None:
    x = chunk("process=ttbar", n=300).x.double().reshape(300, 6, 4)

    def masses(*quarks: int) -> torch.Tensor:
        total = x[:, list(quarks)].sum(1)
        return (total[:, 0] ** 2 - total[:, 1:].square().sum(-1)).clamp(min=0).sqrt()

    assert x[..., 1:3].sum(1).abs().max() < 1e-2
    for top, w, b in (((0, 1, 2), (1, 2), 0), ((3, 4, 5), (4, 5), 3)):
        assert masses(*top).median() == pytest.approx(172.5, abs=0.6)
        assert masses(*w).median() == pytest.approx(80.4, abs=0.8)
        assert masses(b).median() == pytest.approx(4.8, abs=0.1)
        # Pythia's masses: u 0.33, c 1.5; d 0.33, s 0.5
        assert masses(w[0]).max() == pytest.approx(1.5, abs=0.2)
        assert masses(w[1]).quantile(0.97) < 1.0
    assert (masses(0, 1, 2, 3, 4, 5) > 330).all()


@pythia
def test_a_chunk_of_several_classes_holds_all_and_the_format_writes_them(tmp_path: Path) -> None:
    simulator = made("process=jetnet", "process.classes=[q,g]", "process.radius=0.4", FAST)
    simulator.open()
    batch = simulator.run(0, 12, 2)
    labels = batch.cond["jet_class"][:, 0]
    assert {*labels.tolist()} == {0, 1}
    assert (labels.diff() != 0).sum() > 1  # mixed
    assert (batch.x[..., 1].abs() < 0.6).all()
    simulator.format.write(tmp_path / "jets.hdf5", batch, simulator.provenance)
    assert simulator.format.check(tmp_path / "jets.hdf5").n == 12
    back = simulator.format.read(tmp_path / "jets.hdf5")
    assert torch.equal(back.x[back.cond["jet_class"][:, 0] == 1], batch.x[labels == 1])


@pythia
def test_nothing_is_written_to_standard_output(capfd: pytest.CaptureFixture) -> None:
    library = ctypes.CDLL(None)
    with silent():
        os.write(1, b"banner")
        library.puts(b"banner that the library keeps in a buffer")
    library.fflush(None)
    simulator = made("process=ttbar")
    simulator.open()
    simulator.run(0, 8, 1)
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


@pythia
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("process=ttbar", "process.settings=['Top:odd = on']"), "know the setting 'Top:odd = on'"),
        (("process=ttbar", "process.settings=['Beams:eCM = 5.']"), "cannot start with these settings: Beams"),
        (("process=ttbar", "process.settings=['24:onIfAny = 11']"), "something else than six quarks"),
        (("process.classes=[q]", "process.pt=[3000,4000]", FAST), "none of 16 collisions of q"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_one_sentence(
    overrides: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 16)
    simulator = made(*overrides)
    simulator.open()
    with pytest.raises(UserError, match=message):
        simulator.run(0, 8, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("process.pt=[1600,800]",), "process.pt needs a lower and a higher bound, got \\[1600"),
        (("process.classes=[x]",), "JetNet has the classes"),
        (("process=lhco", "process.veto=1300"), "must not exceed process.pt = 1200 GeV, got 1300"),
        (("process=lhco", "process.masses=[1000,500,100]"), "W' at least 1,200 GeV above both"),
        (("process=lhco", "process.fraction=2"), "from 0 to 1"),
        (("particle=gamma",), "particle= is nothing that Pythia is asked for"),
        (("data=jetnet30",), "data= is nothing that Pythia is asked for"),
    ],
)
def test_a_process_that_cannot_be_is_refused_at_once(
    overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        made(*overrides)


@pytest.mark.parametrize("words", ["simulator=pythia detector=w_si", "process=lhco"])
def test_settings_of_another_simulator_are_refused(words: str) -> None:
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(ConfigCompositionException, match="No match in the defaults list"),
    ):
        compose("produce", words.split())


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(UserError, match=r"pip install simulacra\[jets\]"):
        made().open()


def test_chunks_are_long_enough_for_the_start_of_pythia() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("produce", ["simulator=pythia"]).chunk == 2000
        assert compose("produce", ["simulator=pythia", "chunk=7"]).chunk == 7


def test_the_provenance_holds_versions_literal_settings_and_the_selection() -> None:
    found = made("process=lhco", "process.settings=['HadronLevel:Decay = off']").provenance
    assert {"simulator", "pythia8mc", "fastjet", "selection", "signal_fraction"} < set(found)
    background = str(found["pythia_settings_background"]).splitlines()
    assert background[:3] == ["Beams:eCM = 13000.", "Tune:pp = 14", "PartonLevel:MPI = off"]
    assert background[-1] == "HadronLevel:Decay = off"
    assert "34:m0 = 3500" in str(found["pythia_settings_signal"])
