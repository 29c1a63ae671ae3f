from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simulacra.core import Batch, Field, IncompatibleError, Spec
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.physics.jetclass import JetClassObservables
from simulacra.physics.jets import JetObservables, four_momentum

SPEC = jetnet(30, ["t"])


def jets(n: int = 200, seed: int = 0) -> Batch:
    return toy_jets(SPEC, n, seed, 1)


def test_mass_is_that_of_summed_massless_four_vectors() -> None:
    batch = jets()
    eta, phi, pt = (batch.x[..., i].double().numpy() for i in range(3))
    vectors = np.stack(
        [pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    ).sum(-1)
    expected = np.sqrt(vectors[0] ** 2 - (vectors[1:] ** 2).sum(0))
    mass, transverse = four_momentum(*batch.x.unbind(-1))
    np.testing.assert_allclose(mass.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(transverse.numpy(), np.hypot(vectors[1], vectors[2]), rtol=1e-12)


def test_two_particles_have_the_textbook_mass() -> None:
    eta, phi, pt = (
        torch.tensor([[0.1, -0.2]]),
        torch.tensor([[0.3, -0.1]]),
        torch.tensor([[0.6, 0.4]]),
    )
    squared = 2 * 0.6 * 0.4 * (math.cosh(0.3) - math.cos(0.4))
    assert float(four_momentum(eta, phi, pt)[0]) == pytest.approx(math.sqrt(squared), rel=1e-6)


def test_mass_does_not_change_under_a_boost_along_the_beam_and_a_rotation() -> None:
    batch = jets()
    eta, phi, pt = batch.x.double().unbind(-1)
    mass, transverse = four_momentum(eta, phi, pt)
    moved = four_momentum(eta + 1.3, phi + 2.1, pt)
    torch.testing.assert_close(moved[0], mass, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(moved[1], transverse)


def test_one_particle_has_no_mass_and_a_clear_shape() -> None:
    x = torch.zeros(1, 30, 3)
    x[0, 0] = torch.tensor([0.3, -0.4, 0.8])
    mask = torch.arange(30)[None] < 1
    event = {name: torch.ones(1, 1) for name in ("pt", "eta", "mass", "num_particles")}
    values = JetObservables(SPEC)(Batch(x, {}, event, mask))
    found = {
        name: float(values[name])
        for name in ("mass_rel", "pt_rel", "lha", "width", "thrust", "ptd")
    }
    expected = {
        "mass_rel": 0.0,
        "pt_rel": 0.8,
        "lha": math.sqrt(0.5),
        "width": 0.5,
        "thrust": 0.25,
        "ptd": 1.0,
    }
    assert found == pytest.approx(expected, abs=1e-6)
    assert float(values["second_ptrel"]) == 0
    assert float(values["multiplicity"]) == 1


def test_observables_ignore_padding_and_the_order_of_particles() -> None:
    batch, observables = jets(), JetObservables(SPEC)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert batch.mask is not None
    shuffled = Batch(batch.x[:, order], {}, batch.event, batch.mask[:, order])
    first, second = observables.features(batch), observables.features(shuffled)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    values = observables(batch)
    for name in ("etarel", "phirel", "ptrel"):
        assert torch.equal(values[name].isnan(), ~batch.mask)


def test_every_observable_has_an_axis_and_features_are_finite_for_empty_jets() -> None:
    batch, observables = jets(), JetObservables(SPEC)
    assert batch.mask is not None
    empty = Batch(torch.zeros_like(batch.x), {}, batch.event, torch.zeros_like(batch.mask))
    assert set(observables(empty)) == set(observables.axes())
    assert observables(empty)["width"].isnan().all()
    assert observables.features(empty).isfinite().all()


def test_classifier_inputs_of_runaway_particles_stay_finite() -> None:
    batch, observables = jets(4), JetObservables(SPEC)
    wild = Batch(batch.x * 1e4, {}, batch.event, batch.mask)
    assert observables.features(wild).isfinite().all()


def test_the_profile_and_the_image_hold_the_momentum() -> None:
    batch, observables = jets(), JetObservables(SPEC)
    total = batch.x[..., 2].sum(1).double()
    torch.testing.assert_close(observables.profiles(batch)["radial"].values.sum(1), total)
    near = (batch.x[..., :2].abs() <= 1).all(-1)
    inside = torch.where(near, batch.x[..., 2], 0.0).double().sum()
    torch.testing.assert_close(observables.images(batch)["jet"].values.sum(), inside)


def test_mass_kept_compares_particles_with_the_jet() -> None:
    batch, observables = jets(), JetObservables(SPEC)
    values = observables(batch)
    exact = {**batch.event, "mass": (values["mass_rel"] * values["pt"])[:, None]}
    torch.testing.assert_close(
        observables(Batch(batch.x, {}, exact, batch.mask))["mass_kept"], torch.ones(200)
    )


def test_jet_observables_refuse_other_clouds() -> None:
    spec = Spec("points", "cloud", (5, 2), "", features=(Field("x"), Field("e")))
    with pytest.raises(IncompatibleError, match="etarel"):
        JetObservables(spec)


def test_jetclass_observables_judge_the_discretised_particle(tmp_path) -> None:
    form = JetClassFormat(jetclass(), jetclass().conditions[0].classes)
    form.toy(tmp_path / "toy.h5", 50)
    batch, observables = form.read(tmp_path / "toy.h5"), JetClassObservables(form.spec)
    values = observables(batch)
    assert set(values) == set(observables.axes())
    fractions = values["charged_fraction"] + values["neutral_fraction"] + values["photon_fraction"]
    torch.testing.assert_close(fractions, torch.ones(50))
    assert batch.mask is not None
    blurred = batch.x.clone()
    blurred[..., 7:] += 0.4 * torch.rand(
        blurred[..., 7:].shape, generator=torch.Generator().manual_seed(0)
    )
    again = observables(Batch(blurred * batch.mask[..., None], batch.cond, batch.event, batch.mask))
    torch.testing.assert_close(again["jet_charge"], values["jet_charge"])
    assert torch.equal(again["charged_multiplicity"], values["charged_multiplicity"])
    assert torch.equal(values["d0"].isnan(), batch.x[..., 7] == 0)
