"""Variational auto-encoders of showers: published size, losses, warm-up, short trainings of both priors."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.dynamics.kernel_density import KernelDensity
from simulacra.models.showers.vae import VAE
from simulacra.training.checkpoint import build
from simulacra.training.stepping import Stepping
from support import assert_losses_reach_their_own_parameters, composed, spec_of, tiny
from toy_showers import TOY, smoke_scores, toy

LIKELIHOODS = ("multinomial", "gaussian", "continuous_bernoulli", "bernoulli_mean")


def model(*overrides: str, name: str = "vae", seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return build(composed("model", f"model={name}", "model/size=tiny", *overrides), TOY)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_published_size_has_the_parameters_of_the_example_of_geant4():
    with torch.device("meta"):
        module = build(composed("model", "experiment=vae_ds3_published"), spec_of("ds3", None))
    count = sum(p.numel() for p in module.parameters())
    assert count == pytest.approx(8.15e6, rel=0.02)  # card, vae.md 1
    assert module.energies is None
    assert module.cells.coder.layout.features == 10
    assert list(module.objectives()) == ["flow"]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("latent", ["normal", "kde", "inn"])
def test_any_likelihood_and_any_density_of_the_vector_make_showers(likelihood: str, latent: str):
    module = model(
        f"likelihood@model.cells.likelihood={likelihood}", f"latent@model.cells.latent={latent}"
    ).fit_transform([toy(64, 0)])
    assert_losses_reach_their_own_parameters(module, toy(8, 1))
    cond = toy(16, 1).conditions()
    first, again = (module.sample(cond, generator=generator()) for _ in range(2))
    assert torch.equal(first.x, again.x)
    TOY.validate(first)
    values = module._loss(module.encode(toy(16, 1)), generator())
    terms = values.keys() - {"loss", "divergence"}
    assert terms == {"cells", "energies", *(["latent"] if latent == "inn" else [])}
    wanted = torch.stack([values[name] for name in terms]).sum()
    torch.testing.assert_close(values["loss"].detach(), wanted)


def test_the_loss_is_the_bound_on_the_evidence_per_cell_and_warms_up(monkeypatch):
    module = model().fit_transform([toy(64, 0)]).eval()
    rows = module.described(module.encode(toy(32, 1)))["cells"]
    x, context, _ = rows
    cold, half, warm = (
        module.cells.reconstruction(*rows, generator(), warmth) for warmth in (0.0, 0.5, 1.0)
    )
    mean, log_variance = module.cells.coder.encode(x, context).chunk(2, dim=1)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(normal, prior).flatten(1).sum(1).mean()
    torch.testing.assert_close(warm["divergence"], divergence.detach())
    added = module.cells.bottleneck.kl * divergence / module.cells.features
    torch.testing.assert_close(warm["loss"] - cold["loss"], added)
    torch.testing.assert_close(half["loss"] - cold["loss"], added / 2)
    assert module.warmth == 1.0
    monkeypatch.setattr(Stepping, "in_training", True)
    for progress, wanted in ((0.0, 0.0), (0.05, 0.25), (0.2, 1.0), (0.9, 1.0)):
        monkeypatch.setattr(Stepping, "progress", progress)
        assert module.warmth == pytest.approx(wanted)


def test_a_kernel_density_keeps_what_the_encoder_made_last_and_only_in_training():
    module = model("latent@model.cells.latent=kde", "model.cells.latent.kernels=100")
    module.fit_transform([toy(64, 0)])
    latent = module.cells.latent
    assert isinstance(latent, KernelDensity)
    module.train()
    for seed in (1, 2):
        batch = module.encode(toy(64, seed), generator(seed))
        module._loss(batch, generator(seed))
    x, context, _ = module.described(batch)["cells"]
    with torch.no_grad():
        last = module.cells.encode(x, context, generator(2))
    assert int(latent.count) == 100
    place = int(latent.place)
    kept = torch.arange(place - 64, place) % 100
    torch.testing.assert_close(latent.points[kept], last)
    torch.testing.assert_close(latent.conditions[kept], context)
    before = latent.points.clone()
    module.eval()._loss(batch, generator())
    assert torch.equal(latent.points, before)


def test_what_has_no_encoder_and_quanta_of_whole_showers_are_refused():
    own, flow = tiny("vae"), tiny("caloinn")
    with pytest.raises(UserError, match="has no encoder"):
        build({**own, "cells": flow["cells"]}, TOY)
    whole = composed("model", "model=vae", "model/size=published", "model/base@model=whole_logits")
    with pytest.raises(UserError, match="take a transform with layer energies"):
        build(whole, TOY)


LEARNER = (
    "model.cells.coder.width=8", "model.cells.coder.hidden=[96]", "model.energies.blocks=4",
    "model.energies.hidden=[32]", "model.optim.optimizer.lr=4e-3", "model.warmup=0.0",
)  # fmt: skip


@pytest.mark.smoke
def test_a_short_training_uses_its_vector_and_draws_from_the_likelihood():
    # Seeds 0, 1, 2: distance 0.26, 0.23, 0.17, divergence 2.3, 2.5, 2.0 nat, scatter 1.06, 1.04, 1.06 times
    # truth's; where the mean is decoded, cells do not scatter.
    module = model(*LEARNER, "model.cells.bottleneck.kl=5.0")
    scores = smoke_scores(module, seed=0, steps=250)
    truth = toy(1000, 9)
    latent = module.encode(truth)
    with torch.no_grad():
        assert float(module._loss(latent, generator())["divergence"]) > 0.5  # nat
        x, context, _ = module.described(latent)["cells"]
        y = module.cells.decode(module.cells.encode(x, context, generator()), context)
        expected = module.cells.likelihood._of(y)[0].exp()
        drawn = module.cells.likelihood.sample(y, generator())
    scatter = [float((cells.sigmoid() - expected).abs().mean()) for cells in (drawn, x)]
    assert scatter[0] == pytest.approx(scatter[1], rel=0.4)
    assert scores["trained"] < 0.4, scores
    assert scores["shuffled"] > 3 * scores["trained"], scores


@pytest.mark.smoke
def test_a_flow_in_the_place_of_the_prior_learns_the_toy_showers():
    # Seeds 0, 1, 2: distance 0.10, 0.09, 0.07; with the normal prior at the same weight of the divergence
    # 0.70.
    scores = smoke_scores(model(*LEARNER, name="calovae_inn"), seed=0, steps=250)
    assert scores["trained"] < 0.3, scores
    assert scores["shuffled"] > 3 * scores["trained"], scores
