"""What every task on two samples owes, on every kind of data it accepts, at its smallest size."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simulacra import data
from simulacra.core import Batch, IncompatibleError, UserError
from simulacra.core.pair import FIRST, LABEL, SECOND, of_sample
from simulacra.data.base import EventDataModule
from simulacra.tasks.pair import PairTask
from simulacra.tasks.reweighter import Reweighter
from simulacra.tasks.transport import Transport
from simulacra.training.checkpoint import build, load
from simulacra.training.generative import GenerativeModule
from support import (
    assert_losses_reach_their_own_parameters,
    composed,
    fits,
    fits_pair,
    models_of,
    save,
    tiny,
)

SETS = ["ds1_photons", "calogan", "ild", "jetnet30", "zjets"]
TASKS = [(model, name) for model in models_of(PairTask) for name in SETS if fits_pair(model, name)]
TASKS += [  # what needs regions
    (model, "toy_regions")
    for model in models_of(PairTask)
    if not any(fits_pair(model, name) for name in SETS)
]
contract = pytest.mark.parametrize("fitted", TASKS, ids="-".join, indirect=True)


@pytest.fixture(scope="module")
def made() -> dict:
    """Modules that are fitted already; the tests leave their weights as they are."""
    return {}


@pytest.fixture
def fitted(request: pytest.FixtureRequest, toy: Callable[..., EventDataModule], made: dict):
    model, name = request.param
    if request.param not in made:
        single = toy(name)
        folder = single.root
        sides = [f"data/{side}={name}" for side in ("first", "second")]
        roots = [f"data.{side}.root={folder}" for side in ("first", "second")]
        config = composed("data", "data=pair", *sides, *roots, "data.batch_size=8")
        events = data.build(config)
        torch.manual_seed(0)
        module = build(tiny(model), events.spec).fit_transform(events.fit_batches())
        with torch.no_grad():  # a map may start as the identity
            for parameter in module.parameters():
                parameter.add_(0.01)
        made[request.param] = module.eval(), events, (tiny(model), config)
    return made[request.param]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stirred(module: PairTask) -> PairTask:
    """A copy with other weights: the first ones may say that both samples are alike."""
    found = deepcopy(module)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return found


def test_there_is_a_task_beside_generators() -> None:
    assert TASKS
    assert {model for model, _ in TASKS} == set(models_of(PairTask))
    assert set(models_of(Reweighter)) <= set(models_of(PairTask))
    assert not set(models_of(PairTask)) & set(models_of(GenerativeModule))


@contract
def test_each_loss_is_finite_and_reaches_exactly_its_own_parameters(fitted) -> None:
    module, events, _ = fitted
    assert_losses_reach_their_own_parameters(module, events.batch(8))


@contract
def test_doubling_a_weight_equals_repeating_the_event_and_zero_leaving_it_out(fitted) -> None:
    module, events, _ = fitted
    batch = events.batch(8)
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 2.0, 1.0, 0.0, 1.0])
    weighted = module.encode(replace(batch, weight=weight))
    repeated = module.encode(batch[torch.repeat_interleave(torch.arange(8), weight.long())])
    plain = module.encode(batch)
    for name, objective in module.objectives().items():
        items = (weighted, repeated, plain)
        loss = [objective.loss(item, generator(0))["loss"].detach() for item in items]
        torch.testing.assert_close(loss[0], loss[1], rtol=1e-5, atol=1e-7)
        assert abs(float(loss[0] - loss[2])) > 1e-6, name


@contract
def test_what_is_judged_are_events_of_the_second_sample_and_the_truth_those_of_the_first(
    fitted,
) -> None:
    module, events, _ = fitted
    batch = events.batch(9, "test")
    truth = module.truth(batch)
    first, again = (module.judged(batch, generator=generator(1)) for _ in range(2))
    chunks = module.judged(batch, batch_size=2, generator=generator(1))
    for found, number in ((truth, FIRST), (first, SECOND)):
        events.first.spec.validate(found)
        assert len(found) == int((batch.event[LABEL.name] == number).sum())
        assert set(found.event) == {field.name for field in events.first.spec.event}
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.weight_or_one(), again.weight_or_one())
    torch.testing.assert_close(first.weight_or_one(), chunks.weight_or_one())


@contract
def test_applying_changes_events_of_a_file_one_by_one(fitted) -> None:
    module, events, _ = fitted
    module = stirred(module)
    batch = of_sample(events.batch(9, "test"), FIRST)
    whole = module.applied(batch)
    assert len(whole) == len(batch)
    weighed = not torch.equal(whole.weight_or_one(), torch.ones(len(batch)))
    moved = not torch.equal(whole.x, batch.x)
    assert (weighed, moved) == (not isinstance(module, Transport), isinstance(module, Transport))
    order = torch.randperm(len(batch), generator=generator(2))
    shuffled = module.applied(batch[order])
    ordered = whole.weight_or_one()[order]
    torch.testing.assert_close(shuffled.weight_or_one(), ordered, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shuffled.x, whole.x[order])
    twice = module.applied(replace(batch, weight=torch.full((len(batch),), 3.0)))
    torch.testing.assert_close(twice.weight_or_one(), 3 * whole.weight_or_one())


@contract
def test_a_checkpoint_stands_alone_and_gives_bitwise_the_same(fitted, tmp_path: Path) -> None:
    module, events, (model, config) = fitted
    other = load(save(module, model, tmp_path, config))
    batch = of_sample(events.batch(9, "test"), SECOND)
    one, two = (item.applied(batch, generator(4)) for item in (module, other))
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.weight_or_one(), two.weight_or_one())


@contract
def test_a_training_mode_is_left_as_it_was(fitted) -> None:
    module, events, _ = fitted
    batch = of_sample(events.batch(9, "test"), SECOND)
    before = module.applied(batch, generator(0))
    module.train()
    after = module.applied(batch, generator(0))
    assert module.training
    module.eval()
    assert torch.equal(before.weight_or_one(), after.weight_or_one())


@pytest.mark.parametrize("model", models_of(PairTask))
def test_a_task_refuses_one_sample_and_what_it_cannot_represent(model: str) -> None:
    for name in ("ds1_photons", "jetnet30"):
        assert not fits(model, name, None)
    single = composed("data", "data=ds1_photons")
    with pytest.raises(IncompatibleError, match="two samples: take data=pair"):
        build(tiny(model), data.build(single).spec)


def test_no_generator_takes_a_pair() -> None:
    assert not [name for name in models_of(GenerativeModule) if fits(name, "pair", None)]


def test_a_generator_changes_no_events(toy: Callable[..., EventDataModule]) -> None:
    events = toy("ds1_photons")
    module = build(tiny("caloinn"), events.spec).fit_transform(events.fit_batches())
    with pytest.raises(UserError, match="CaloINN makes events of its own"):
        module.applied(events.batch(3))


def test_a_generator_is_judged_by_events_with_the_conditions_and_weights_of_the_truth(
    toy: Callable[..., EventDataModule],
) -> None:
    events = toy("ds1_photons")
    module = build(tiny("caloinn"), events.spec).fit_transform(events.fit_batches())
    batch = replace(events.batch(6), weight=torch.arange(6.0))
    made = module.judged(batch, generator=generator(0))
    again: Batch = module.sample(batch.conditions(module.given), generator=generator(0))
    assert torch.equal(made.x, again.x)
    assert torch.equal(made.weight, batch.weight)
    assert module.truth(batch) is batch
