"""What every architecture owes, on every kind of data it accepts, at its smallest size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class
from support import composed, config_names

from simulacra.core import Conditions
from simulacra.data.base import EventDataModule
from simulacra.models.base import GenerativeModule
from simulacra.models.checkpoint import build, load_weights

# one data set (and view) per kind of event
KINDS = [
    ("ds1_photons", None),
    ("calogan", None),
    ("ds2", None),
    ("ild", None),
    ("ild_10x10", "cloud"),
    ("jetnet30", None),
    ("jetnet30", "image"),
    ("pxd_small", None),
]


@cache
def model_config(name: str) -> dict:
    return composed("model", f"model={name}", "model/size=tiny")


def make(name: str, events: EventDataModule) -> GenerativeModule:
    torch.manual_seed(0)
    module = build(model_config(name), events.spec)
    return module.fit_transform(events.fit_batches())


def pairs() -> list:
    """Every model with every kind it accepts; a model that accepts none would show as a missing name."""
    return [
        pytest.param(model, data, view, id=f"{model}-{data}{'+' + view if view else ''}")
        for model in config_names("model")
        for data, view in KINDS
    ]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def given(module: GenerativeModule, events: EventDataModule, n: int) -> Conditions:
    batch = events.batch(n)
    return batch.conditions(module.given)


@pytest.fixture
def fitted(request: pytest.FixtureRequest, toy: Callable[..., EventDataModule]):
    model, data, view = request.param
    events = toy(data, view)
    if get_class(model_config(model)["_target_"]).accepts(events.spec) is not None:
        pytest.skip(f"{model} does not represent {events.spec.kind} events")
    return make(model, events), events


contract = pytest.mark.parametrize("fitted", [p.values for p in pairs()], indirect=True, ids=[p.id for p in pairs()])


@contract
def test_each_loss_is_finite_and_reaches_exactly_its_own_parameters(fitted) -> None:
    module, events = fitted
    latent = module.encode(events.batch(8), generator(0))
    objectives = module.objectives()
    owned = [p for objective in objectives.values() for p in objective.parameters]
    assert {id(p) for p in owned} == {id(p) for p in module.parameters() if p.requires_grad}
    for name, objective in objectives.items():
        values = objective.loss(latent, generator(0))
        assert all(math.isfinite(float(value)) for value in values.values()), name
        values["loss"].backward()
        reached = {id(p) for p in module.parameters() if p.grad is not None}
        assert reached == {id(p) for p in objective.parameters}, name
        module.zero_grad(set_to_none=True)


@contract
def test_samples_are_valid_physical_events_and_repeat_with_a_generator(fitted) -> None:
    module, events = fitted
    cond = given(module, events, 6)
    first, again = (module.sample(cond, generator=generator(1)) for _ in range(2))
    other = module.sample(cond, generator=generator(2))
    assert first.x.shape == (6, *events.spec.shape)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    events.spec.validate(first)
    events.native_spec.validate(events.native(first))
    if events.spec.kind in ("grid", "layers", "image") and events.spec.threshold > 0:
        assert not bool(((first.x > 0) & (first.x < events.spec.threshold)).any())


@contract
def test_reloaded_weights_sample_bitwise_the_same(fitted, tmp_path: Path) -> None:
    module, events = fitted
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other = build(module_config(module), events.spec)
    load_weights(other, torch.load(tmp_path / "weights.pt", weights_only=True), "weights.pt")
    cond = given(module, events, 3)
    one, two = (m.sample(cond, generator=generator(4)) for m in (module, other))
    assert torch.equal(one.x, two.x)
    assert all(torch.equal(one.event[name], two.event[name]) for name in one.event)


def module_config(module: GenerativeModule) -> dict:
    for name in config_names("model"):
        if model_config(name)["_target_"].endswith(f".{type(module).__name__}"):
            return model_config(name)
    raise AssertionError(type(module))


@contract
def test_the_loss_or_the_sample_depends_on_the_conditions(fitted) -> None:
    module, events = fitted
    batch = events.batch(8)
    cond = batch.conditions(module.given)
    if not cond.values:
        pytest.skip(f"{events.spec.name} has no condition")
    changed = Conditions(len(cond), {name: value.flip(0) for name, value in cond.values.items()})
    scaled, other = (module.transform.condition(c) for c in (cond, changed))
    assert scaled is not None
    assert not torch.equal(scaled, other)
    _perturb(module)
    first = module.sample(cond, generator=generator(0))
    second = module.sample(changed, generator=generator(0))
    assert not torch.equal(first.x, second.x)


def _perturb(module: GenerativeModule) -> None:
    """Leave the identity start of zero-initialised layers, as one training step would."""
    noise = generator(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=noise))
