"""Showers in one step: mean velocities of layer energies and cells by transformers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulacra.data.base import EventDataModule
from simulacra.training.checkpoint import build
from support import composed


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("process", ["split_mean_flow", "mean_flow"])
@pytest.mark.parametrize("experiment", ["vit_mean_ds2", "calodream_mean_ds2"])
def test_showers_of_mean_velocities_learn_and_are_drawn_in_one_step(
    experiment: str, process: str, toy: Callable[..., EventDataModule]
) -> None:
    events = toy("ds2", None)
    torch.manual_seed(0)
    settings = composed(
        "model",
        f"experiment={experiment}",
        "model/size=tiny",
        f"model/process@model.cells.process={process}",
    )
    module = build(settings, events.spec).fit_transform(events.fit_batches())
    (objective,) = module.objectives().values()
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(3):  # heads start at zero, and so does what lengths add
        optimizer.zero_grad()
        latent = module.encode(events.batch(8), generator(0))
        objective.loss(latent, generator(0))["loss"].backward()
        optimizer.step()
    lengths = {n: p for n, p in module.named_parameters() if n.endswith("length.weight")}
    assert {name.split(".")[0] for name in lengths} == {"energies", "cells"}
    assert all(bool((p != 0).any()) for p in lengths.values())
    with torch.inference_mode():  # as in validation
        assert bool(objective.loss(latent, generator(0))["loss"].isfinite())
    made = module.eval().sample(events.batch(4).conditions(module.given), generator=generator(1))
    assert bool(made.x.isfinite().all())
    assert module.cells.solver.evaluations == 1
