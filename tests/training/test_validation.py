"""Validation during training costs what evaluating the losses costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulacra.data.base import EventDataModule
from simulacra.training.checkpoint import build
from support import tiny


@pytest.mark.parametrize(("model", "data"), [("caloinn", "ds1_photons"), ("wgan3d", "ild_10x10")])
def test_losses_keep_no_graph_of_the_validation_events(
    model: str,
    data: str,
    toy: Callable[..., EventDataModule],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = toy(data)
    module = build(tiny(model), events.spec).fit_transform(events.fit_batches())
    graphs, logged = [], {}
    encode = module.encode

    def watched(*arguments):
        graphs.append(torch.is_grad_enabled())
        return encode(*arguments)

    monkeypatch.setattr(module, "encode", watched)
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    with torch.no_grad():
        module.validation_step(events.batch(8), 0)
    assert graphs == [False]
    assert logged
    assert all(bool(torch.isfinite(value)) for value in logged.values())
