"""Flows of showers: published sizes, likelihood, short trainings of RealNVP and CaloFlow's teacher."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Batch
from simulacra.dynamics.autoregressive import MaskedAutoregressive
from simulacra.dynamics.flows import Permute
from simulacra.models.showers.caloflow_teacher import CaloFlowTeacher
from simulacra.models.showers.realnvp import RealNVP
from simulacra.models.showers.shower_model import ShowerModel
from simulacra.training.checkpoint import build
from support import composed, made, spec_of
from toy_showers import TOY, smoke_scores, toy

TRAINED = ("optim.optimizer.lr=4e-3", "optim.scheduler=null")


def teacher() -> CaloFlowTeacher:
    return made(
        "caloflow_teacher", TOY, "cells.blocks=3", "cells.hidden=[64]", "cells.affine=[32]",
        "cells.spline.bins=6", "energies.blocks=4", "energies.hidden=[32]", "energies.spline.bins=6",
        "energies.spline.bound=6.0", *TRAINED,
    )  # fmt: skip


def realnvp() -> RealNVP:
    return made(
        "realnvp", TOY, "cells.blocks=6", "cells.hidden=[64]", "energies.blocks=6",
        "energies.hidden=[32]", *TRAINED,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "size", "millions"),
    [
        ("ds1_photons", "published", 28.0),  # arXiv:2410.21611
        ("ds1_pions", "published_pions", 57.1),  # arXiv:2410.21611
    ],
)
def test_the_teachers_published_sizes_have_the_published_numbers_of_parameters(
    data: str, size: str, millions: float
):
    config = composed("model", "model=caloflow_teacher", f"model/size={size}")
    with torch.device("meta"):
        module = build(config, spec_of(data, None))
    count = sum(p.numel() for p in module.parameters())
    assert count == pytest.approx(1e6 * millions, rel=0.02)


def test_the_teachers_orders_reverse_and_shuffle_within_each_layer():
    flow = teacher().cells
    orders = [step.order for step in flow.steps if isinstance(step, Permute)]
    assert len(orders) == 3
    assert all(torch.equal(order // 25, torch.arange(200) // 25) for order in orders)
    assert torch.equal(orders[0][:25], torch.arange(24, -1, -1))
    assert not torch.equal(orders[1], orders[0])
    assert sum(isinstance(step, MaskedAutoregressive) for step in flow.steps) == 3


@pytest.fixture(scope="module", params=[realnvp, teacher], ids=["realnvp", "caloflow_teacher"])
def fitted(request: pytest.FixtureRequest) -> ShowerModel:
    module = request.param().fit_transform([toy(256, 0), toy(256, 1)])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return module


def test_samples_encode_to_the_noise_that_made_them(fitted: ShowerModel):
    cond = toy(20, 2).conditions()
    with torch.no_grad():
        latent = fitted.eval().generate(cond, torch.Generator().manual_seed(1))
        layers = fitted.transform.context(latent.x["energies"], cond)
        context = torch.cat([latent.cond, layers], -1)
        noise, _ = fitted.cells(latent.x["cells"], context)
        energies, _ = fitted.energies(latent.x["energies"], latent.cond)
    generator = torch.Generator().manual_seed(1)
    for found in (energies, noise):
        expected = torch.randn(found.shape, generator=generator)
        assert (found - expected).abs().max() < 1e-3


def test_log_prob_of_one_event_does_not_depend_on_the_others(fitted: ShowerModel):
    batch = toy(8, 3)
    together = fitted.log_prob(batch)
    assert together.shape == (8,)
    torch.testing.assert_close(together[5:6], fitted.log_prob(batch[5:6]), rtol=1e-4, atol=1e-2)


def test_bits_per_dimension_are_those_of_logarithms_whatever_the_standardisation(
    fitted: ShowerModel,
):
    """A latent standard normal whose logarithms have width s costs log2(s sqrt(2 pi e)) bits a number."""
    latent = fitted.eval().encode(toy(64, 4))
    losses = fitted._loss(latent, None)
    nats = -sum(value.sum() for value in fitted.log_probs(latent).values()) / 64
    scales = torch.cat([fitted.transform.cells.std, fitted.transform.energies.std]).log().sum()
    expected = (nats + scales) / (208 * math.log(2))
    torch.testing.assert_close(losses["bits_per_dim"], expected)
    assert not losses["bits_per_dim"].requires_grad


def test_bits_per_dimension_do_not_depend_on_the_unit_of_energy():
    def bits(scale: float) -> float:
        spec = TOY.with_(threshold=scale, cut=scale)
        batch = toy(64, 0)
        moved = Batch(scale * batch.x, {"incident_energy": scale * batch.cond["incident_energy"]})
        module = made("realnvp", spec, "transform.smear=0.0").fit_transform([moved])
        return float(module._loss(module.eval().encode(moved), None)["bits_per_dim"])

    assert bits(1.0) == pytest.approx(bits(1000.0), abs=1e-3)


def test_some_layers_are_empty_and_no_cell_lies_below_the_threshold(fitted: ShowerModel):
    made = fitted.sample(toy(64, 5).conditions(), generator=torch.Generator().manual_seed(0))
    sums = TOY.geometry.layer_sums(made.x.flatten(1))
    assert bool((sums == 0).any())
    assert not bool(((made.x > 0) & (made.x < TOY.threshold)).any())


@pytest.mark.smoke
def test_realnvp_learns_the_toy_showers_and_uses_the_condition():
    # Seeds 0 to 4: untrained 0.65 to 0.68, trained 0.17 to 0.20, shuffled 6.5 to 7.6.
    scores = smoke_scores(realnvp(), seed=0, steps=150)
    assert scores["trained"] < 0.27, scores
    assert scores["trained"] < 0.5 * scores["untrained"], scores
    assert scores["shuffled"] > 3 * scores["trained"], scores


@pytest.mark.smoke
def test_the_teacher_learns_the_toy_showers_and_uses_the_condition():
    # Seeds 0 to 4: untrained 0.66 to 0.68, trained 0.11 to 0.13, shuffled 6.5 to 7.7.
    scores = smoke_scores(teacher(), seed=0, steps=100)
    assert scores["trained"] < 0.18, scores
    assert scores["trained"] < 0.5 * scores["untrained"], scores
    assert scores["shuffled"] > 3 * scores["trained"], scores
