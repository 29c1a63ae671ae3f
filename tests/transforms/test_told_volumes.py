"""Volumes for networks that know of energies: the energy's column, sums that are set, cells below the cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from grid_showers import generator, toy_showers, toy_spec
from simulacra.core import Field
from simulacra.transforms.volume import LARGEST_FACTOR, ToldVolumes, VisibleVolumes

KINDS = pytest.mark.parametrize("kind", [ToldVolumes, VisibleVolumes])
LOGARITHMIC = pytest.mark.parametrize("logarithmic", [False, True])


def fitted(kind: type[ToldVolumes], logarithmic: bool = True) -> ToldVolumes:
    spec = toy_spec()
    transform = kind(spec, spec.conditions, logarithmic, True)
    transform.fit([toy_showers(500, 1)])
    return transform


@KINDS
@LOGARITHMIC
def test_the_sum_per_energy_is_what_a_number_says_in_units_of_truth(
    kind: type[ToldVolumes], logarithmic: bool
) -> None:
    transform, batch = fitted(kind, logarithmic), toy_showers(2000, 2)
    latent = transform(batch)
    assert latent.cond is not None
    energy = batch.cond["incident_energy"]
    torch.testing.assert_close(transform.incident_energy(latent.cond), energy)
    truth = toy_showers(500, 1)
    seen = torch.where(truth.x < 0.1, 0.0, truth.x) if kind is VisibleVolumes else truth.x
    response = seen.sum((1, 2, 3)) / truth.cond["incident_energy"][:, 0]
    mean, std = response.mean(), response.std()
    assert float(std / mean) > 0.05
    volumes = 3 * latent.x["shower"].relu()
    for r in (-1.0, 0.0, 1.0):
        made = transform.rescaled(volumes, torch.full((2000, 1), r), latent.cond)
        x = transform.scale.inverse(made[:, 0])
        found = x.sum((1, 2, 3)) / energy[:, 0]
        wanted = mean * (r * std / mean).exp()
        assert float(found.mean()) == pytest.approx(float(wanted), rel=0.02)
        assert float(found.std() / found.mean()) < 0.02
        back = transform.log_response(made, latent.cond)
        torch.testing.assert_close(back, torch.full_like(back, r), rtol=0, atol=0.2)
        assert float(back.mean()) == pytest.approx(r, abs=0.1)


def test_cells_below_the_cut_are_empty_in_truth_and_in_generated_showers() -> None:
    transform, batch = fitted(VisibleVolumes), toy_showers(20, 2)
    faint = replace(batch, x=batch.x + torch.where(batch.x == 0, 0.05, 0.0))
    latent = transform(faint)
    assert torch.equal(latent.x["shower"], transform(batch).x["shower"])
    assert not torch.equal(fitted(ToldVolumes)(faint).x["shower"], latent.x["shower"])
    noisy = latent.x["shower"] + 0.1 * torch.rand(latent.x["shower"].shape, generator=generator())
    shown = transform.rescaled(noisy, torch.zeros(20, 1), latent.cond)
    x = transform.scale.inverse(shown)
    assert not bool(((x > 1e-6) & (x < 0.0999)).any())
    back = transform.inverse(replace(latent, x={"shower": noisy}), batch.conditions()).x
    assert not bool(((back > 0) & (back < 0.1)).any())
    assert not VisibleVolumes.exact
    assert ToldVolumes.exact


def test_an_empty_cell_is_told_how_to_become_a_hit() -> None:
    transform, batch = fitted(VisibleVolumes), toy_showers(4, 2)
    cond = transform(batch).cond
    assert cond is not None
    faint = torch.full((4, 1, *batch.x.shape[1:]), 0.01, requires_grad=True)
    made = transform.rescaled(faint, torch.zeros(4, 1), cond)
    assert not bool(made.any())
    made.sum().backward()
    assert faint.grad is not None
    assert bool((faint.grad > 0).all())
    assert float(faint.grad.max()) < 2 * LARGEST_FACTOR


def test_what_a_critic_knows_is_conditions_and_sums_without_the_column_of_the_energy() -> None:
    spec = toy_spec(angle=True)
    transform = ToldVolumes(spec, spec.conditions, False, False)
    batch = toy_showers(8, 0)
    batch = replace(batch, cond={**batch.cond, "theta": torch.full((8, 1), 60.0)})
    transform.fit([batch])
    latent = transform(batch)
    assert latent.cond is not None
    assert torch.equal(transform.known(latent.x["shower"], latent.cond), latent.cond[:, :2])
    profiled = ToldVolumes(spec, spec.conditions, False, True)
    profiled.fit([batch])
    assert profiled.known(latent.x["shower"], latent.cond).shape == (8, 2 + profiled.shown)


def test_showers_without_an_incident_energy_are_no_volumes() -> None:
    spec = toy_spec()
    assert ToldVolumes.unfit(spec) is None
    other = spec.with_(conditions=(Field("theta", "deg", low=30.0, high=90.0),), prior=())
    assert "incident energy" in str(ToldVolumes.unfit(other))
