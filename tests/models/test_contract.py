"""What every architecture owes, on every kind of data it accepts, at its smallest size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.core import Batch, Conditions, Latent
from simulacra.data.base import EventDataModule
from simulacra.training.checkpoint import build, load_weights
from simulacra.training.generative import GenerativeModule, NonFiniteEventsError, Redraws
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
    [("toy_shower", None)],
    [("pxd_small", None)],
    [("table", None)],
    [("zjets", None)],
    [("events", None)],
]
SLOW = {
    (model, data) for model in ("pixelcnn", "pixelcnn_pp", "spade") for data in ("ds2", "ild_10x10")
}
"""Thousands of cells or hits, one drawn after the other."""
QUICK = 1
"""Kinds of event that a model is tested on by default; the others are part of the grid."""


def pairs(model: str) -> Iterator[Any]:
    """A model with a data set of each kind that it fits."""
    fitting = (next((kind for kind in choices if fits(model, *kind)), None) for choices in KINDS)
    quick = 0
    for kind in filter(None, fitting):
        by_default = (model, kind[0]) not in SLOW and quick < QUICK
        quick += by_default
        yield pytest.param(
            (model, *kind),
            id="-".join(filter(None, (model, *kind))),
            marks=[] if by_default else [pytest.mark.grid],
        )


PAIRS = [param for model in models_of(GenerativeModule) for param in pairs(model)]
contract = pytest.mark.parametrize("fitted", PAIRS, indirect=True)


def some_of(models: Collection[str]) -> pytest.MarkDecorator:
    """The first pair of some models in the quick tests, the other pairs in those of the grid."""
    seen: set[str] = set()
    params = []
    for param in PAIRS:
        model = param.values[0][0]
        quick = model in models and model not in seen
        seen.add(model)
        params.append(
            param if quick else pytest.param(*param.values, id=param.id, marks=pytest.mark.grid)
        )
    return pytest.mark.parametrize("fitted", params, indirect=True)


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


@pytest.fixture
def drawn(fitted, made: dict) -> tuple[Conditions, Batch]:
    """Conditions of six events, and a sample of a module, drawn with the generator of seed 1."""
    module, events, _ = fitted
    if module not in made:
        cond = given(module, events, 6)
        made[module] = cond, module.sample(cond, generator=generator(1))
    return made[module]


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
def test_samples_are_valid_physical_events_and_repeat_with_a_generator(fitted, drawn) -> None:
    module, events, _ = fitted
    cond, first = drawn
    again, other = (module.sample(cond, generator=generator(seed)) for seed in (1, 2))
    assert first.x.shape == (len(cond), *events.spec.shape)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    events.spec.validate(first)
    events.judged.spec.validate(events.native(first))
    made = [first.x, *first.event.values(), *([] if first.mask is None else [first.mask])]
    assert not any(value.is_inference() for value in made)  # gradients may be asked of them
    if events.spec.kind in ("grid", "layers", "image") and events.spec.threshold > 0:
        assert not bool(((first.x > 0) & (first.x < events.spec.threshold)).any())


@contract
def test_reloaded_weights_sample_bitwise_the_same(fitted, drawn, tmp_path: Path) -> None:
    module, events, config = fitted
    cond, one = drawn
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other = build(config, events.spec)
    load_weights(other, torch.load(tmp_path / "weights.pt", weights_only=True), "weights.pt")
    two = other.sample(cond, generator=generator(1))
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


@some_of(
    (
        "caloclouds", "caloflow_teacher", "caloinn", "calopointflow", "epic_fm", "fpcd", "mpgan",
        "pxd_wgan", "realnvp", "table_flow", "wgan3d",
    )
)  # fmt: skip
def test_weights_that_are_not_finite_make_no_events(fitted) -> None:
    """Of every part in turn: a part without a say in generated events leaves them as they are."""
    module, events, _ = fitted
    cond = given(module, events, 4)
    whole, heard = module.sample(cond, generator=generator(1)), 0
    for name, part in module.named_children():
        if not any(True for _ in part.parameters()):
            continue
        spoiled = deepcopy(module)
        for parameter in getattr(spoiled, name).parameters():
            torch.nn.init.constant_(parameter, torch.nan)
        with suppress(NonFiniteEventsError):
            made = spoiled.sample(cond, generator=generator(1))
            assert torch.equal(made.x, whole.x), name
            continue
        heard += 1
    assert heard


@some_of(("caloinn", "epic_fm", "table_flow"))
def test_a_single_event_that_is_not_finite_is_found_and_drawn_again(fitted, monkeypatch) -> None:
    module, events, _ = fitted
    cond = given(module, events, 6)
    generate = type(module).generate
    whole = generate(module, cond, generator(1)).x
    stages = [stage for stage, x in whole.items() if x.numel() and x.is_floating_point()]
    drawn: list[int] = []
    spoiled: list[bool] = []

    def failing(
        self: GenerativeModule, stage: str, cond: Conditions, source: torch.Generator | None = None
    ) -> Latent:
        latent = generate(self, cond, source)
        if len(drawn) in (0, 1):  # event 3 at first, then again
            x = dict(latent.x)
            x[stage] = x[stage].clone()
            numbers = x[stage][3 if not drawn else 0].flatten()
            numbers[:1] = torch.nan
            spoiled.append(len(numbers) > 0)  # a jet may split nowhere
            latent = replace(latent, x=x)
        drawn.append(len(cond))
        return latent

    for stage in stages:
        monkeypatch.setattr(type(module), "generate", partialmethod(failing, stage))
        drawn.clear()
        with pytest.raises(NonFiniteEventsError, match="1 of 6 generated"):
            module.sample(cond, generator=generator(1))
        drawn.clear()
        spoiled.clear()
        redraws = Redraws(rounds=3)
        made = next(module.stream(cond, generator=generator(1), redraws=redraws))
        assert drawn == [6] + [1] * sum(spoiled)
        assert redraws.events == sum(spoiled) >= 1
        assert len(made) == 6
        events.spec.validate(made)
