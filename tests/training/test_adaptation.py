"""Trained models that go on: which weights are taken, which move, and what a checkpoint of them is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from simulacra import data
from simulacra.core import IncompatibleError, UserError
from simulacra.data.base import EventDataModule
from simulacra.nn.mlp import MLP
from simulacra.training.adaptation import Biases, LoRA, LowRank, merge
from simulacra.training.checkpoint import adapted, build, load
from simulacra.training.fine_tuning import fine_tune
from simulacra.training.module import Module
from simulacra.training.parts import PARTS, Parts
from support import composed, made, save, tiny

Toy = Callable[..., EventDataModule]
# coupling flows; residual network; weight normalisation; attention; masks of an autoregressive flow
MODELS = [
    ("caloinn", "ds1_photons"),
    ("table_fm", "table"),
    ("epic_fm", "jetnet30"),
    ("pc_droid_transformer", "jetnet30"),
    ("caloflow_teacher", "ds1_photons"),
]


def fitted(model: str, events: EventDataModule, seed: int = 0) -> Module:
    return made(model, events.spec, seed=seed).fit_transform(events.fit_batches())


def learnt(module: Module) -> None:
    """Matrices of low rank as after a training."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, LowRank):
                part.b.normal_(0, 0.05, generator=generator)


def stirred(module: Module) -> None:
    """Weights as after a training, of which none is zero."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))


def sampled(module: Module, events: EventDataModule) -> Tensor:
    cond = events.conditions(6, torch.Generator().manual_seed(1))
    return module.sample(cond, generator=torch.Generator().manual_seed(2)).x


def trained(module: Module, events: EventDataModule, steps: int = 3) -> None:
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=events)


@pytest.mark.parametrize(("model", "name"), MODELS)
def test_low_rank_begins_as_the_model_and_merges_into_one_like_any_other(
    model: str, name: str, toy: Toy, tmp_path: Path
) -> None:
    events = toy(name)
    module = fitted(model, events)
    plain = {key: value.clone() for key, value in module.state_dict().items()}
    before = sampled(module, events)
    LoRA(4, 8.0).start(module, PARTS)
    torch.testing.assert_close(sampled(module, events), before, rtol=1e-6, atol=0)
    learnt(module)
    unmerged = sampled(module, events)
    assert not torch.allclose(unmerged, before)
    config = tiny(model)
    path = save(module, config, tmp_path)
    contents = torch.load(path, weights_only=True)
    entry = {"_target_": "simulacra.training.adaptation.LoRA", "rank": 4, "alpha": 8.0}
    contents["simulacra"]["config"] |= {"adapt": entry, "init": {"checkpoint": "gone.ckpt"}}
    torch.save(contents, path)
    loaded = load(path)
    merge(module)
    for one in (module, loaded):
        assert one.state_dict().keys() == plain.keys()
        torch.testing.assert_close(sampled(one, events), unmerged, rtol=1e-6, atol=1e-6)
    other = fitted(model, events, seed=5)
    fine_tune(other, path)  # a model can be taken further from there
    assert torch.equal(sampled(other, events), sampled(loaded, events))


@pytest.mark.parametrize("way", [Biases(), LoRA(2, 2.0)], ids=["biases", "lora"])
@pytest.mark.parametrize(("model", "name"), [("caloinn", "ds1_photons"), ("conv_l2lflows", "ild")])
def test_frozen_weights_stay_bitwise_and_all_others_move(
    model: str, name: str, way: Any, toy: Toy
) -> None:
    events = toy(name)
    module = fitted(model, events)
    stirred(module)
    way.start(module, PARTS)
    learnt(module)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    free = {key for key, value in module.named_parameters() if value.requires_grad}
    trained(module, events)
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key]) != (key in free), key
    numbers = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert 0 < numbers < sum(p.numel() for p in module.parameters())
    if isinstance(way, Biases):
        assert all(key.endswith("bias") for key in free)


def test_what_is_new_is_trained_as_a_whole(toy: Toy) -> None:
    module = fitted("table_fm", toy("table"))
    held = Parts(module)
    LoRA(2, 2.0).start(module, ["backbone", "embedders"])
    free = {key for key, value in module.named_parameters() if value.requires_grad}
    heads = {key for key, _ in module.named_parameters() if held.of(key) == "head"}
    assert len(heads) == 2
    assert heads < free
    assert all(".parametrizations." in key for key in free - heads)
    Biases().start(module, PARTS)
    assert not any(p.requires_grad for k, p in module.named_parameters() if k.endswith("weight"))


@pytest.mark.parametrize("parts", [["backbone"], ["embedders", "head"], None])
def test_parts_are_taken_as_asked_and_one_line_says_which(
    parts: list[Any] | None, toy: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = toy("table")
    theirs, mine = fitted("table_fm", events), fitted("table_fm", events, seed=1)
    path = save(theirs, tiny("table_fm"), tmp_path)
    before = {key: value.clone() for key, value in mine.state_dict().items()}
    with caplog.at_level(logging.INFO):
        fine_tune(mine, path, parts)
    held, given = Parts(mine), theirs.state_dict()
    for key, value in mine.state_dict().items():
        source = given if held.of(key) in (parts or PARTS) else before
        assert torch.equal(value, source[key]), key
    (line,) = [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]
    taken, left = line.split("; left as it was made: ")
    assert [part in taken for part in PARTS] == [part in (parts or PARTS) for part in PARTS]
    assert [part in left for part in PARTS] == [part not in (parts or PARTS) for part in PARTS]
    assert "transform" in left


def test_statistics_can_be_taken_too(toy: Toy, tmp_path: Path) -> None:
    events = toy("table")
    theirs = fitted("table_fm", events)
    path = save(theirs, tiny("table_fm"), tmp_path)
    mine = made("table_fm", events.spec, seed=1)
    mine.fit_transform([events.batch(5)])
    assert mine.transform.digest() != theirs.transform.digest()
    fine_tune(mine, path, None, True)
    assert mine.transform.digest() == theirs.transform.digest()


def test_a_head_of_another_width_is_no_hindrance_where_it_is_not_taken(
    toy: Toy, tmp_path: Path
) -> None:
    events = toy("table")
    path = save(fitted("table_fm", events), tiny("table_fm"), tmp_path)
    wider = made("table_fm", events.spec, "net.frequencies=5")
    wider.fit_transform(events.fit_batches())
    fine_tune(wider, path, ["backbone", "head"])
    with pytest.raises(IncompatibleError, match=r"entries differ, the first is 'density\.net\."):
        fine_tune(wider, path, ["embedders"])
    deeper = made("table_fm", events.spec, "net.blocks=2").fit_transform(events.fit_batches())
    shallow = save(
        deeper,
        composed("model", "model=table_fm", "model/size=tiny", "model.net.blocks=2"),
        tmp_path,
    )
    with pytest.raises(IncompatibleError, match="entries differ"):  # nothing is left out of a part
        fine_tune(fitted("table_fm", events), shallow, ["backbone"])


def test_networks_that_predict_something_else_are_a_start_without_their_heads(
    toy: Toy, tmp_path: Path
) -> None:
    events, residual = toy("table"), "model/prediction@model.process.predicts=residual"
    theirs = fitted("table_fm", events)
    path = save(theirs, tiny("table_fm"), tmp_path)
    other = build(composed("model", "model=table_fm", "model/size=tiny", residual), events.spec)
    before = other.fit_transform(events.fit_batches()).state_dict()
    before = {name: value.clone() for name, value in before.items()}
    for parts in (None, ["head"]):
        with pytest.raises(IncompatibleError, match="Velocity, here ResidualVelocity is asked for"):
            fine_tune(other, path, parts)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    fine_tune(other, path, ["backbone", "embedders"])
    held = Parts(other)
    kept = {name for name, value in other.state_dict().items() if torch.equal(value, before[name])}
    assert {name for name in before if held.of(name) == "head"} <= kept
    assert not kept >= {name for name in before if held.of(name) == "backbone"}


def test_parts_that_a_model_has_not_are_named(toy: Toy, tmp_path: Path) -> None:
    events = toy("ds1_photons")
    module = fitted("caloinn", events)
    path = save(module, tiny("caloinn"), tmp_path)
    with pytest.raises(UserError, match=r"names head, but CaloINN has the parts backbone$"):
        fine_tune(module, path, ["backbone", "head"])
    with pytest.raises(UserError, match="names none"):
        fine_tune(module, path, [])


@pytest.mark.parametrize("name", ["bias", "lora"])
def test_nothing_is_adapted_without_a_checkpoint(name: str) -> None:
    config = {"adapt": composed("adapt", f"adapt={name}"), "init": {"checkpoint": None}}
    with pytest.raises(UserError, match="give its checkpoint as init=FILE"):
        adapted(config)
    adapted({**config, "adapt": composed("adapt")})
    adapted({"init": None})  # of an earlier version


def test_an_objective_without_weights_that_move_is_refused(toy: Toy) -> None:
    events = toy("table")
    module = fitted("table_fm", events).requires_grad_(False)
    with pytest.raises(UserError, match="nothing is left to train for the objective"):
        trained(module, events)


def test_classes_that_no_shower_has_learn_nothing(tmp_path: Path) -> None:
    data.build(composed("data", "data=mixture")).write_toy(tmp_path, 20)
    using = "data.using=[pb_lar,pbwo4,pb_sci]"
    events = data.build(composed("data", "data=mixture", f"data.root={tmp_path}", using))
    module = build(tiny("caloinn"), events.spec).fit_transform(events.fit_batches())
    latent = module.encode(events.batch(60), torch.Generator().manual_seed(0))
    assert latent.cond is not None
    assert latent.cond[:, 1:].sum(0).tolist() == [18.0, 18.0, 18.0, 0.0, 0.0]
    (objective,) = module.objectives().values()
    stirred(module)  # the last layers of couplings are zero at first
    objective.loss(latent, torch.Generator().manual_seed(0))["loss"].backward()
    grads = [
        part.layers[0].weight.grad[:, -5:].abs().sum(0)
        for part in module.energies.modules()
        if isinstance(part, MLP)
    ]
    assert grads
    for columns in grads:  # the last five columns of what steers a coupling
        assert bool((columns[:3] > 0).all())
        assert columns[3:].tolist() == [0.0, 0.0]
