"""Bayesian CaloINN: networks of a posterior, their loss, and what a likelihood says of single events."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

import simulacra
from simulacra.callbacks.physics import PhysicsValidation
from simulacra.core import UserError
from simulacra.models.showers.caloinn import CaloINN
from simulacra.nn.variational import divergence
from simulacra.training.checkpoint import build
from support import composed, spec_of, tiny


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def configured(start: float = 0.1) -> dict:
    weights = {"_target_": "simulacra.nn.variational.Bayesian", "prior": 1.0, "start": start}
    return {**tiny("caloinn"), "bayesian": True, "weights": weights}


@pytest.fixture(scope="module")
def events(toy):
    return toy("ds1_photons")


@pytest.fixture(scope="module")
def bayesian(events) -> CaloINN:
    torch.manual_seed(0)
    return build(configured(), events.spec).fit_transform(events.fit_batches())


def test_posterior_draws_are_batches_of_networks_under_the_same_conditions(bayesian, events):
    cond = events.batch(12).conditions(bayesian.given)
    first, again = (
        bayesian.sample(cond, posterior_draws=3, generator=generator(1)) for _ in range(2)
    )
    assert len(first) == 3
    for one, same in zip(first, again, strict=True):
        assert torch.equal(one.x, same.x)
        assert torch.equal(one.cond["incident_energy"], cond.values["incident_energy"])
        events.spec.validate(one)
    assert not torch.equal(first[0].x, first[1].x)
    drawn = bayesian.sample(5, posterior_draws=2, generator=generator(1))
    assert torch.equal(drawn[0].cond["incident_energy"], drawn[1].cond["incident_energy"])


def test_one_draw_is_one_network(bayesian, events):
    cond = events.batch(6).conditions(bayesian.given)
    with bayesian.one_network(generator(3)):
        first, again = (bayesian.sample(cond, generator=generator(1)) for _ in range(2))
    mean = bayesian.sample(cond, generator=generator(1))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, mean.x)
    assert torch.equal(mean.x, bayesian.sample(cond, generator=generator(1)).x)


def test_what_has_no_posterior_says_so(events):
    plain = build(tiny("caloinn"), events.spec).fit_transform(events.fit_batches())
    with pytest.raises(UserError, match="CaloINN has no posterior to draw networks from"):
        plain.sample(3, posterior_draws=2)
    assert not plain.has_posterior
    assert "divergence" not in plain._loss(plain.encode(events.batch(4), generator(0)), None)


def test_draws_are_counted_from_one(bayesian):
    with pytest.raises(UserError, match="posterior_draws must be at least 1, got 0"):
        bayesian.sample(3, posterior_draws=0)


def test_the_divergence_over_the_training_events_joins_the_loss(bayesian, events):
    latent = bayesian.encode(events.batch(8), generator(0))
    with bayesian.evaluating():
        values = bayesian._loss(latent, None)
    n = len(events.part("train"))
    assert bayesian.train_events == n
    parts = {
        name: divergence(flow) / (n * flow.features)
        for name, flow in (("cells", bayesian.cells), ("energies", bayesian.energies))
    }
    expected = values["cells"] + values["energies"] + sum(parts.values())
    torch.testing.assert_close(values["loss"], expected)
    torch.testing.assert_close(values["divergence"], divergence(bayesian).detach() / n)


def test_a_posterior_needs_to_know_its_training_events(events):
    fresh = build(configured(), events.spec)
    with pytest.raises(UserError, match="call fit_transform first"):
        fresh.divergence(fresh.cells)


def test_the_prior_takes_the_place_of_weight_decay(bayesian, events):
    (objective,) = bayesian.objectives().values()
    assert {
        g["weight_decay"] for g in objective.optim.optimizer(objective.parameters).param_groups
    } == {0}
    plain = build(tiny("caloinn"), events.spec)
    (objective,) = plain.objectives().values()
    assert objective.optim.optimizer(objective.parameters).param_groups[0]["weight_decay"] > 0


def test_a_trainer_counts_all_events_and_draws_the_bands(toy, tmp_path: Path):
    data = toy("ds1_photons", None, "data.eval_batch_size=8")
    module = build(configured(), data.spec)
    module.fit_transform([data.batch(16)])
    assert module.train_events == 16
    physics = PhysicsValidation(1, 20, 0, str(tmp_path), draw=False, posterior_draws=2)
    trainer = pl.Trainer(
        max_steps=1,
        callbacks=[physics],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        num_sanity_val_steps=0,
        val_check_interval=1,
    )
    trainer.fit(module, datamodule=data)
    assert module.train_events == len(data.part("train"))
    logged = trainer.callback_metrics
    assert 0 <= float(logged["val/band/coverage"]) <= 1
    assert float(logged["val/band/width"]) >= 0


def test_the_published_bayesian_size_has_two_numbers_per_weight():
    counts = {}
    for bayesian in (False, True):
        config = {
            **composed("model", "model=caloinn", "model/size=published_bayesian"),
            "bayesian": bayesian,
        }
        with torch.device("meta"):
            module = build(config, spec_of("calogan", None))
        counts[bayesian] = sum(p.numel() for p in module.parameters())
    assert counts[True] == pytest.approx(2 * counts[False], rel=1e-2)


def test_the_anomaly_score_is_the_surprise_in_units_of_similar_events(bayesian, events):
    batch, usual = events.batch(6), events.batch(30)
    plain = simulacra.anomaly_score(bayesian, batch)
    torch.testing.assert_close(plain, -bayesian.log_prob(batch))
    scaled = simulacra.anomaly_score(bayesian, batch, usual)
    level = -bayesian.log_prob(usual)
    near = level.expand(6, -1)  # fewer than are looked for: all are near
    torch.testing.assert_close(scaled, ((plain - near.mean(1)) / near.std(1)).detach())
    with pytest.raises(UserError, match="at least two reference events, got 1"):
        simulacra.anomaly_score(bayesian, batch, usual[:1])


def test_a_model_without_a_likelihood_has_no_score(toy):
    data = toy("ild")
    module = build(tiny("wgan3d"), data.spec).fit_transform(data.fit_batches())
    with pytest.raises(UserError, match="has no likelihood"):
        simulacra.anomaly_score(module, data.batch(2))
