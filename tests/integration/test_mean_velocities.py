"""A run of mean velocities starts from the checkpoint of a plain run, through what the command does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simulacra.cli.train import prepare
from simulacra.data.base import EventDataModule
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.solvers import Euler, Mean, Solver
from simulacra.evaluation import build, saved
from simulacra.evaluation.config import compose
from simulacra.evaluation.schema import Train
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion
from simulacra.nn.time_features import LengthFeatures
from simulacra.training.generative import GenerativeModule
from support import save

EXPERIMENTS = [
    ("jetnet30", "epic_fm_jetnet30", "epic_fm_mean_jetnet30"),
    ("ds2", "vit_ds2", "vit_mean_ds2"),
]


def prepared(folder: Path, events: EventDataModule, *asked: str) -> tuple[Any, dict[str, Any]]:
    """A generator as the command has it when training begins, and its configuration."""
    run = ("model/size=tiny", "logger=none", f"paths.run={folder}", *asked)
    config = saved.resolve(compose("train", list(run)), Train)
    torch.manual_seed(config["seed"])
    module = build.build_model(config, events.spec)
    prepare(module, events, config, fresh=True)
    assert isinstance(module, GenerativeModule)
    return module.eval(), config


def drawn(module: GenerativeModule, events: EventDataModule, solver: Solver) -> Tensor:
    for part in module.modules():
        if isinstance(part, CloudDiffusion | DiffusionDensity):
            part.solver = solver
    cond = events.conditions(4, torch.Generator().manual_seed(1))
    return module.sample(cond, generator=torch.Generator().manual_seed(2)).x


@pytest.mark.parametrize("adapt", ["full", "bias", "lora"])
@pytest.mark.parametrize(("name", "plain", "mean"), EXPERIMENTS)
def test_it_begins_as_the_plain_model_and_learns_what_lengths_change(
    name: str,
    plain: str,
    mean: str,
    adapt: str,
    toy: Callable[..., EventDataModule],
    tmp_path: Path,
) -> None:
    events = toy(name)
    before, config = prepared(tmp_path / "plain", events, f"experiment={plain}", "seed=1")
    with torch.no_grad():
        for parameter in before.parameters():  # heads start at zero
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = save(before, config["model"], tmp_path)
    after, _ = prepared(
        tmp_path / "mean", events, f"experiment={mean}", f"init={path}", f"adapt={adapt}", "seed=2"
    )
    assert torch.equal(drawn(after, events, Mean(1)), drawn(before, events, Euler(1)))
    lengths = [part.weight for part in after.modules() if isinstance(part, LengthFeatures)]
    assert lengths
    assert all(weight.requires_grad for weight in lengths)
    with torch.no_grad():
        for weight in lengths:
            weight.add_(1.0)
    # over no time the mean is the velocity, whatever has been learnt of lengths
    assert torch.equal(drawn(after, events, Euler(3)), drawn(before, events, Euler(3)))
    assert not torch.equal(drawn(after, events, Mean(1)), drawn(before, events, Euler(1)))
