"""Settings of models that cannot be, each refused in one sentence before anything is trained."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from simulacra.core import UserError
from simulacra.training.optim import Optim, one_cycle
from support import made, spec_of


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("optim.optimizer.lr=abc", "model.optim.optimizer.lr must be a number"),
        ("optim.optimizer.lr=true", "model.optim.optimizer.lr must be a number"),
        ("cells.blocks=-1", "model.cells.blocks must be a whole number from 1, got -1"),
        ("cells.blocks=1.5", "model.cells.blocks must be a whole number from 1, got 1.5"),
        ("cells.hidden=[16,0]", "model.cells.hidden must be a list of whole numbers from 1"),
        ("cells.dropout=1", "model.cells.dropout must be a number from 0 below 1, got 1"),
        ("cells=5", "model.cells must be what a _target_ makes, got 5"),
        ("bayesian=2", "model.bayesian must be true or false, got 2"),
    ],
)
def test_a_setting_of_a_model_that_cannot_be_is_one_sentence(change: str, sentence: str) -> None:
    with pytest.raises(UserError) as found:
        made("caloinn", spec_of("ds1_photons", None), change)
    assert str(found.value).startswith(sentence)


def test_whole_numbers_of_a_model_are_taken_in_any_notation() -> None:
    one, other = (
        made("caloinn", spec_of("ds1_photons", None), f"cells.blocks={n}", "cells.hidden=16")
        for n in ("2", "2e0")
    )
    assert [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"nothing": 1}, {"betas": (2.0, 0.0)}])
def test_an_optimizer_that_refuses_its_settings_is_one_sentence(settings: dict) -> None:
    optim = Optim(partial(torch.optim.Adam, **settings))
    with pytest.raises(UserError, match="the optimizer cannot be made: "):
        optim.start(nn.Linear(1, 1).parameters())


def test_a_rate_beyond_single_precision_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"the optimizer has lr=1e\+300"):
        Optim(partial(torch.optim.Adam, lr=1e300)).start(nn.Linear(1, 1).parameters())


def test_a_schedule_that_refuses_its_settings_is_one_sentence() -> None:
    optim = Optim(partial(torch.optim.SGD, lr=0.1), partial(one_cycle, max_lr=1.0, pct_start=2.0))
    optimizer = optim.start(nn.Linear(1, 1).parameters())
    with pytest.raises(UserError, match="the schedule of the optimizer cannot be made: "):
        optim.schedule(optimizer, 10)
