"""CaloINN: published sizes, likelihood, energy bookkeeping, dependence on conditions, a short training."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import get_class

from simulacra.core import Batch, Field, Geometry, Latent, Spec
from simulacra.core.errors import IncompatibleError
from simulacra.models.showers.caloinn import CaloINN
from simulacra.training.checkpoint import build
from support import composed, made
from toy_showers import (
    PHOTONS,
    PIONS,
    TOY,
    grid_spec,
    layers_spec,
    smoke_scores,
    toy,
)


def count(spec: Spec, size: str) -> int:
    config = composed("model", "model=caloinn", f"model/size={size}")
    with torch.device("meta"):
        return sum(p.numel() for p in build(config, spec).parameters())


@pytest.mark.parametrize(("geometry", "millions"), [(PHOTONS, 18.8), (PIONS, 26.6)])
def test_the_published_size_has_the_published_number_of_parameters(
    geometry: Geometry, millions: float
):
    assert count(layers_spec(geometry), "published") == pytest.approx(1e6 * millions, rel=0.02)


def test_the_published_size_for_fine_grids_has_the_published_number_of_parameters():
    assert count(grid_spec(45, 16, 9), "published_cubic") == pytest.approx(271e6, rel=0.02)


def test_the_large_size_fits_tens_of_thousands_of_cells_into_sixty_million_parameters():
    assert count(grid_spec(45, 50, 18), "large") <= 6e7
    assert count(grid_spec(30, 30, 30), "large") <= 6e7


def small(spec: Spec = TOY, joint: bool = False, bayesian: bool = False) -> CaloINN:
    parts = (
        ["energies=null", "cells.affine=null"] if joint
        else ["energies.blocks=4", "energies.hidden=[32]", "energies.spline.bins=6"]
    )  # fmt: skip
    return made(
        "caloinn", spec, "cells.blocks=4", "cells.hidden=[48]", "cells.affine=[32]",
        "cells.spline.bins=6", *parts, "optim.optimizer.lr=4e-3", "optim.scheduler=null",
        f"bayesian={bayesian}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> CaloINN:
    return small().fit_transform([toy(256, 0), toy(256, 1)])


def test_it_accepts_layers_and_grids_with_an_incident_energy_only():
    assert CaloINN.accepts(TOY) is None
    assert CaloINN.accepts(layers_spec(PHOTONS)) is None
    for spec, reason in [
        (Spec("c", "cloud", (4, 1), "MeV", features=(Field("e"),)), "cloud"),
        (TOY.with_(geometry=None), "geometry"),
        (TOY.with_(conditions=()), "incident energy"),
    ]:
        assert reason in CaloINN.accepts(spec)
        with pytest.raises(IncompatibleError, match=reason):
            small(spec)


@pytest.mark.parametrize("joint", [False, True])
def test_gradients_reach_every_parameter(joint: bool):
    module = small(joint=joint).fit_transform([toy(128, 0)])
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
    for _ in range(
        2
    ):  # networks behind a layer of zeros get their gradient from the second step on
        optimizer.zero_grad()
        module._loss(module.encode(toy(64, 1), torch.Generator().manual_seed(0)), None)[
            "loss"
        ].backward()
        optimizer.step()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in module.parameters())


def test_initialisation_happens_in_fit_and_repeats(fitted: CaloINN):
    again = small().fit_transform([toy(256, 0), toy(256, 1)])
    assert all(
        torch.equal(a, b)
        for a, b in zip(fitted.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert any(
        bool((p != 0).any()) for name, p in fitted.named_parameters() if name.endswith("log_scale")
    )


def test_samples_repeat_with_a_generator_and_their_layers_hold_the_generated_energies(
    fitted: CaloINN,
):
    cond = toy(40, 2).conditions()
    first, again = (
        fitted.sample(cond, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    other = fitted.sample(cond, generator=torch.Generator().manual_seed(2))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    assert not ((first.x > 0) & (first.x < TOY.threshold)).any()
    with torch.no_grad():
        latent = fitted.eval().generate(cond, torch.Generator().manual_seed(1))
    layers, _ = fitted.transform._physical(latent.x["energies"], cond)
    wanted = fitted.transform.fill.inverse(layers, fitted.transform.floor)
    torch.testing.assert_close(
        TOY.geometry.layer_sums(first.x.flatten(1)), wanted, rtol=1e-4, atol=1e-3
    )


def test_log_prob_of_one_event_does_not_depend_on_the_others(fitted: CaloINN):
    batch = toy(16, 3)
    together = fitted.log_prob(batch)
    assert together.shape == (16,)
    torch.testing.assert_close(together[5:6], fitted.log_prob(batch[5:6]), rtol=1e-4, atol=1e-2)


def test_log_prob_falls_by_one_per_hit_cell_and_layer_and_unit_of_log_energy(fitted: CaloINN):
    """In other units the density changes by the Jacobian alone; checked on the term that holds the units."""
    batch = toy(8, 4)
    shifted = Batch(2 * batch.x, batch.cond)
    number = (batch.x > 0).flatten(1).sum(1) + (
        TOY.geometry.layer_sums(batch.x.flatten(1)) > 0
    ).sum(1)
    change = fitted.transform.log_det(shifted) - fitted.transform.log_det(batch)
    torch.testing.assert_close(change, -number * torch.log(torch.tensor(2.0)), rtol=1e-4, atol=1e-3)


@pytest.mark.smoke
def test_a_short_training_learns_the_toy_showers_and_uses_the_condition():
    # Seeds 0 to 4: untrained 0.67 to 0.69, trained 0.14 to 0.15, shuffled 6.5 to 7.6.
    scores = smoke_scores(small(), seed=0, steps=150)
    assert scores["trained"] < 0.2, scores
    assert scores["trained"] < 0.5 * scores["untrained"], scores
    assert scores["shuffled"] > 3 * scores["trained"], scores


@pytest.mark.smoke
def test_the_means_of_a_bayesian_flow_learn_the_toy_showers():
    # Seeds 0 to 4: untrained 0.66 to 0.69, trained 0.15 to 0.16, shuffled 6.5 to 7.7.
    scores = smoke_scores(small(bayesian=True), seed=0, steps=100)
    assert scores["trained"] < 0.2, scores
    assert scores["trained"] < 0.5 * scores["untrained"], scores
    assert scores["shuffled"] > 3 * scores["trained"], scores


def test_latent_entries_cover_cells_and_energies(fitted: CaloINN):
    latent: Latent = fitted.encode(toy(3, 5))
    assert {name: value.shape[1] for name, value in latent.x.items()} == {
        "energies": 8,
        "cells": 200,
        "layers": 8,
    }
    assert get_class("simulacra.models.showers.caloinn.CaloINN") is CaloINN
