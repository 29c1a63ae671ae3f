"""What every architecture owes, on every kind of data it accepts, at its smallest size."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from simulacra.core import Conditions
from simulacra.data.base import EventDataModule
from simulacra.training.checkpoint import build, load_weights
from simulacra.training.generative import GenerativeModule
from support import assert_losses_reach_their_own_parameters, fits, models_of, trainable

# data sets (and views) per kind of event: the first that fits a model
KINDS = [
    [("ds1_photons", None)],
    [("calogan", None)],
    [("ds2", None)],
    [("ild_10x10", None), ("ild", None)],
    [("ild_10x10", "cloud")],
    [("jetnet30", None), ("jetclass", None)],
    [("jetnet30", "image")],
    [("pxd_small", None)],
    [("table", None)],
]
PAIRS = [
    pytest.param((model, *kind), id="-".join(filter(None, (model, *kind))))
    for model in models_of(GenerativeModule)
    for choices in KINDS
    for kind in [kind for kind in choices if fits(model, *kind)][:1]
]
contract = pytest.mark.parametrize("fitted", PAIRS, indirect=True)


@pytest.fixture(scope="module")
def made() -> dict:
    """Modules that are fitted already; the tests leave their weights as they are."""
    return {}


@pytest.fixture
def fitted(
    request: pytest.FixtureRequest,
    toy: Callable[..., EventDataModule],
    made: dict,
    tmp_path_factory: pytest.TempPathFactory,
):
    if request.param not in made:
        model, data, view = request.param
        events = toy(data, view)
        torch.manual_seed(0)
        config = trainable(model, events, tmp_path_factory.mktemp("teacher"))
        module = build(config, events.spec).fit_transform(events.fit_batches())
        made[request.param] = module, events, config
    return made[request.param]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def given(module: GenerativeModule, events: EventDataModule, n: int) -> Conditions:
    return events.batch(n).conditions(module.given)


def test_every_model_is_held_to_the_contract_on_some_kind_of_data() -> None:
    assert {param.values[0][0] for param in PAIRS} == set(models_of(GenerativeModule))


@contract
def test_each_loss_is_finite_and_reaches_exactly_its_own_parameters(fitted) -> None:
    module, events, _ = fitted
    assert_losses_reach_their_own_parameters(module, events.batch(8))


@contract
def test_samples_are_valid_physical_events_and_repeat_with_a_generator(fitted) -> None:
    module, events, _ = fitted
    cond = given(module, events, 6)
    first, again = (module.sample(cond, generator=generator(1)) for _ in range(2))
    other = module.sample(cond, generator=generator(2))
    assert first.x.shape == (len(cond), *events.spec.shape)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    events.spec.validate(first)
    events.judged.spec.validate(events.native(first))
    if events.spec.kind in ("grid", "layers", "image") and events.spec.threshold > 0:
        assert not bool(((first.x > 0) & (first.x < events.spec.threshold)).any())


@contract
def test_reloaded_weights_sample_bitwise_the_same(fitted, tmp_path: Path) -> None:
    module, events, config = fitted
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other = build(config, events.spec)
    load_weights(other, torch.load(tmp_path / "weights.pt", weights_only=True), "weights.pt")
    cond = given(module, events, 3)
    one, two = (m.sample(cond, generator=generator(4)) for m in (module, other))
    assert torch.equal(one.x, two.x)
    assert all(torch.equal(one.event[name], two.event[name]) for name in one.event)


@contract
def test_samples_depend_on_the_conditions(fitted) -> None:
    module, events, _ = fitted
    cond = given(module, events, 8)
    if not cond.values:
        assert module.transform.condition(cond) is None
        return
    changed = Conditions(len(cond), {name: value.flip(0) for name, value in cond.values.items()})
    scaled, other = (module.transform.condition(c) for c in (cond, changed))
    assert not torch.equal(scaled, other)
    moved = _perturbed(module)
    first, second = (moved.sample(c, generator=generator(0)) for c in (cond, changed))
    assert not torch.equal(first.x, second.x)


def _perturbed(module: GenerativeModule) -> GenerativeModule:
    """A copy that has left the identity start of zero-initialised layers, as by a training step."""
    moved, noise = deepcopy(module), generator(5)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=noise))
    return moved
