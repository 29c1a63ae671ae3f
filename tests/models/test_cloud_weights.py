"""Event weights in the losses of clouds: doubling a weight is repeating the event, zero is leaving it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, draws
from simulacra.data.base import EventDataModule
from simulacra.dynamics import clouds, consistency, diffusion
from simulacra.training.checkpoint import build
from simulacra.training.generative import GenerativeModule
from simulacra.transforms import cloud_layers
from support import config_names, fits, trainable

VIEWS = [("jetnet30", None), ("jetclass", None), ("ild_10x10", "cloud")]
PAIRS = [
    (model, *view)
    for model in config_names("model")
    for view in [view for view in VIEWS if fits(model, *view)][:1]
]


@pytest.fixture(scope="module")
def made() -> dict:
    return {}


@pytest.fixture
def fitted(
    request: pytest.FixtureRequest,
    toy: Callable[..., EventDataModule],
    made: dict,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[GenerativeModule, Batch]:
    if request.param not in made:
        model, data, view = request.param
        events = toy(data, view)
        torch.manual_seed(0)
        config = trainable(model, events, tmp_path_factory.mktemp("teacher"))
        module = build(config, events.spec).fit_transform(events.fit_batches())
        noise = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.03 * torch.randn(parameter.shape, generator=noise))
        made[request.param] = module.eval(), events.batch(6)
    return made[request.param]


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event gets the same noise, time and place on a walk."""

    def row(shape: Sequence[int], like: Tensor) -> Tensor:
        sine = torch.sin(torch.arange(float(torch.Size(shape[1:]).numel())) * 12.9898)
        return (
            sine.view(1, *shape[1:])
            .expand(*shape)
            .to(like.dtype if like.is_floating_point() else None)
        )  # type: ignore[arg-type]

    monkeypatch.setattr(draws, "normal", lambda shape, like, generator=None: row(shape, like))
    monkeypatch.setattr(draws, "uniform", lambda shape, like, generator=None: row(shape, like) % 1)
    monkeypatch.setattr(
        draws,
        "integers",
        lambda low, high, shape, like, generator=None: torch.full(tuple(shape), low),
    )
    monkeypatch.setattr(
        diffusion, "stratified_times", lambda n, like, generator: torch.full((n,), 0.4).to(like)
    )
    assert clouds.draws is consistency.draws is cloud_layers.draws is draws


def losses(module: GenerativeModule, events: Batch) -> dict[str, Tensor]:
    latent = module.encode(events)
    return {
        f"{name}/{key}": value.detach()
        for name, objective in module.objectives().items()
        for key, value in objective.loss(latent, None).items()
    }


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=2e-5, atol=1e-6, msg=name)


@pytest.mark.usefixtures("same_noise")
@pytest.mark.parametrize("fitted", PAIRS, indirect=True, ids=lambda pair: pair[0])
def test_weights_count_events(fitted: tuple[GenerativeModule, Batch]) -> None:
    module, events = fitted
    plain = losses(module, events)
    assert_equal(losses(module, replace(events, weight=torch.full((6,), 0.01))), plain)
    counts = torch.tensor([0, 1, 2, 1, 0, 3])
    repeated = events[torch.repeat_interleave(torch.arange(6), counts)]
    weighted = losses(module, replace(events, weight=counts.float()))
    assert_equal(weighted, losses(module, repeated))
    assert any(not torch.allclose(weighted[name], plain[name], rtol=1e-4) for name in plain)
