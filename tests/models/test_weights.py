"""Event weights in the losses: doubling a weight is repeating the event, zero is leaving it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from simulacra.core import Batch, UserError, draws
from simulacra.data.base import EventDataModule
from simulacra.dynamics import diffusion
from simulacra.training.checkpoint import build
from simulacra.training.generative import GenerativeModule
from support import config_names, fits, trainable

VIEWS = [
    ("ds1_photons", None),
    ("ild_10x10", None),
    ("pxd_small", None),
    ("jetnet30", None),
    ("jetclass", None),
    ("ild_10x10", "cloud"),
    ("table", None),
    ("events", None),
]
LEARN_WEIGHTS = ("neural_resampler",)
"""Models of the weights themselves, to which one event of weight 2 is not two of weight 1."""
PAIRS = [
    (model, *view)
    for model in config_names("model")
    if model not in LEARN_WEIGHTS
    for view in [view for view in VIEWS if fits(model, *view)][:1]
]
COUNTS = torch.tensor([0, 1, 2, 1, 0, 3])


def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event gets the same noise, time and place."""

    def row(shape: Sequence[int], like: Tensor, generator: object = None) -> Tensor:
        sine = torch.sin(12.9898 * torch.arange(float(torch.Size(shape[1:]).numel())) + 0.7)
        dtype = like.dtype if like.is_floating_point() else None
        return sine.view(1, *shape[1:]).expand(*shape).to(dtype)

    def unit(shape: Sequence[int], like: Tensor, generator: object = None) -> Tensor:
        return row(shape, like) % 1

    def highest(low: int, high: int, shape: Sequence[int], *_: object) -> Tensor:
        return torch.full(tuple(shape), high - 1)

    monkeypatch.setattr(draws, "normal", row)
    monkeypatch.setattr(draws, "uniform", unit)
    monkeypatch.setattr(draws, "integers", highest)
    monkeypatch.setattr(
        diffusion, "stratified_times", lambda n, like, generator: torch.full((n,), 0.4).to(like)
    )


def losses(module: GenerativeModule, events: Batch) -> dict[str, Tensor]:
    """Of all objectives, with noise."""
    latent = module.encode(events, torch.Generator())
    return {
        f"{name}/{key}": value.detach()
        for name, objective in module.objectives().items()
        for key, value in objective.loss(latent, None).items()
    }


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=2e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0])
def test_weights_count_events(
    pair: tuple[str, str, str | None],
    toy: Callable[..., EventDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = toy(*pair[1:])
    config = trainable(pair[0], data, tmp_path)
    if "share" in config.get("rules", {}):  # the share is what a batch begins with
        config = {**config, "rules": {**config["rules"], "share": 1.0}}
    torch.manual_seed(0)
    module = build(config, data.spec).fit_transform(data.fit_batches()).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    events = data.batch(6)
    same_noise(monkeypatch)
    plain = losses(module, events)
    weighted = replace(events, weight=COUNTS.float())
    if any(isinstance(part, _BatchNorm) for part in module.modules()):
        for objective in module.objectives().values():
            with pytest.raises(UserError, match=r"^[^\n]+ takes no weights[^\n]+$"):
                objective.loss(module.encode(weighted, torch.Generator()), None)
        return
    assert_equal(losses(module, replace(events, weight=torch.full((6,), 0.01))), plain)
    found = losses(module, weighted)
    assert_equal(found, losses(module, events[torch.repeat_interleave(torch.arange(6), COUNTS)]))
    assert any(not torch.allclose(found[name], plain[name], rtol=1e-5, atol=0) for name in plain)
