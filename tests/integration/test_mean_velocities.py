"""A run of mean velocities starts from the checkpoint of a plain run, through what the command does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simulacra.core.plain_yaml import read_yaml
from simulacra.data.base import EventDataModule
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.solvers import Euler, Mean, Solver
from simulacra.evaluation import build, saved
from simulacra.evaluation.config import compose, folder
from simulacra.evaluation.schema import Train
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion
from simulacra.nn.time_features import LengthFeatures
from simulacra.running.train import prepare
from simulacra.training.generative import GenerativeModule
from support import save

EXPERIMENTS = [
    ("jetnet30", "epic_fm_jetnet30", "epic_fm_mean_jetnet30"),
    ("ds2", "vit_ds2", "vit_mean_ds2"),
    ("ds2", "caloart_ds2", "caloart_mean_ds2"),
]
"""Data sets, each with a plain run and one of mean velocities."""


@cache
def settings(experiment: str) -> dict[str, Any]:
    """Its configuration at the smallest size."""
    run = [f"experiment={experiment}", "model/size=tiny", "logger=none", "paths.run=/x"]
    return saved.resolve(compose("train", run), Train)


def prepared(experiment: str, events: EventDataModule, **changed: Any) -> GenerativeModule:
    """A generator as the command has it when training begins."""
    config = {**settings(experiment), **changed}
    torch.manual_seed(config["seed"])
    module = build.build_model(config, events.spec)
    prepare(module, events, config, fresh=True)
    assert isinstance(module, GenerativeModule)
    return module.eval()


def drawn(module: GenerativeModule, events: EventDataModule, solver: Solver) -> Tensor:
    for part in module.modules():
        if isinstance(part, CloudDiffusion | DiffusionDensity):
            part.solver = solver
    cond = events.conditions(4, torch.Generator().manual_seed(1))
    return module.sample(cond, generator=torch.Generator().manual_seed(2)).x


@pytest.fixture(scope="module", params=EXPERIMENTS, ids=lambda row: row[2])
def plain(
    request: pytest.FixtureRequest,
    toy: Callable[..., EventDataModule],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, EventDataModule, Path, Tensor]:
    """A run of mean velocities, its data, the checkpoint of a plain run, what that makes in three steps."""
    data, experiment, mean = request.param
    events = toy(data)
    module = prepared(experiment, events, seed=1)
    with torch.no_grad():
        for parameter in module.parameters():  # heads start at zero
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = save(module, settings(experiment)["model"], tmp_path_factory.mktemp("plain"))
    return mean, events, path, drawn(module, events, Euler(3))


@pytest.mark.parametrize(
    "adapt",
    [
        "lora",
        pytest.param("full", marks=pytest.mark.grid),
        pytest.param("bias", marks=pytest.mark.grid),
    ],
)
def test_it_begins_as_the_plain_model_and_learns_what_lengths_change(
    plain: tuple[str, EventDataModule, Path, Tensor], adapt: str
) -> None:
    experiment, events, path, made = plain
    way = read_yaml(folder("conf") / "adapt" / f"{adapt}.yaml")
    init = {**settings(experiment)["init"], "checkpoint": str(path)}
    after = prepared(experiment, events, init=init, adapt=way, seed=2)
    assert torch.equal(drawn(after, events, Euler(3)), made)
    once = drawn(after, events, Mean(1))
    lengths = [part.weight for part in after.modules() if isinstance(part, LengthFeatures)]
    assert lengths
    assert all(weight.requires_grad for weight in lengths)
    with torch.no_grad():
        for weight in lengths:
            weight.add_(1.0)
    # over no time the mean is the velocity, whatever has been learnt of lengths
    assert torch.equal(drawn(after, events, Euler(3)), made)
    assert not torch.equal(drawn(after, events, Mean(1)), once)
