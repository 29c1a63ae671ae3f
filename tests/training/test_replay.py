"""Recorded samplers, with a recorder that needs no card: it makes the call again."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch

from simulacra.core import Batch, Conditions, UserError
from simulacra.data.base import EventDataModule
from simulacra.training.generative import GenerativeModule, Redraws
from simulacra.training.replay import Made
from support import called_again, made

Toy = Callable[..., EventDataModule]


class Counting:
    """How often was recorded."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, call: Callable[[], Made]) -> tuple[Callable[[], object], Made]:
        self.times += 1
        return called_again(call)


@pytest.fixture
def recorded(toy: Toy) -> tuple[GenerativeModule, Conditions, Counting]:
    events = toy("ds1_photons")
    module = made("caloinn", events.spec).fit_transform(events.fit_batches())
    counting = Counting()
    module.use_graphs(counting)
    return module, events.batch(8).conditions(module.given), counting


def seeded(module: GenerativeModule, cond: Conditions, seed: int = 1, **words: int) -> Batch:
    return module.sample(cond, generator=torch.Generator().manual_seed(seed), **words)


def test_a_recording_follows_conditions_noise_and_weights(recorded) -> None:
    module, cond, counting = recorded
    first = seeded(module, cond)
    assert torch.equal(seeded(module, cond).x, first.x)
    assert not torch.equal(seeded(module, cond, 2).x, first.x)
    other = Conditions(cond.n, {name: value.flip(0) for name, value in cond.values.items()})
    assert not torch.equal(seeded(module, other).x, first.x)
    assert counting.times == 1
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1)
    assert not torch.equal(seeded(module, cond).x, first.x)
    assert counting.times == 2


def test_recorded_events_are_those_of_the_sampler_for_the_same_numbers(recorded) -> None:
    module, cond, _ = recorded
    found = seeded(module, cond)
    generator = torch.Generator().manual_seed(1)
    space = module.latent_space()
    numbers = torch.empty(cond.n, space.width).normal_(generator=generator)  # all are normal
    torch.testing.assert_close(space.events(numbers, cond).x, found.x, rtol=1e-4, atol=1e-4)


def test_a_recording_serves_somewhat_fewer_events_and_another_many_fewer(recorded) -> None:
    module, cond, counting = recorded
    found = seeded(module, cond, batch_size=5)  # 5 and 3
    assert len(found) == cond.n
    assert counting.times == 1
    assert len(seeded(module, cond[:2])) == 2
    assert counting.times == 2


def test_what_was_handed_out_stays_as_it_is(recorded) -> None:
    module, cond, _ = recorded
    first = seeded(module, cond)
    before = first.x.clone()
    seeded(module, cond, 2)
    assert torch.equal(first.x, before)


def test_a_copy_records_anew(recorded) -> None:
    module, cond, counting = recorded
    seeded(module, cond)
    other = deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    assert not torch.equal(seeded(other, cond).x, seeded(module, cond).x)
    assert counting.times == 1  # the copy has a recorder of its own


def test_events_that_are_not_finite_are_drawn_again_by_the_same_recording(
    recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, cond, counting = recorded
    drawn = type(module)._drawn

    def failing(self: GenerativeModule, cond: Conditions, source: torch.Generator | None) -> Made:
        batch, sound = drawn(self, cond, source)
        return batch, sound & (torch.arange(len(sound)) != 3)

    monkeypatch.setattr(type(module), "_drawn", failing)
    redraws = Redraws(rounds=1)
    assert len(next(module.stream(cond, redraws=redraws))) == cond.n
    assert (redraws.events, counting.times) == (1, 1)


def test_each_network_of_a_posterior_is_recorded(toy: Toy) -> None:
    events = toy("ds1_photons")
    module = made("caloinn", events.spec, "bayesian=true").fit_transform(events.fit_batches())
    counting = Counting()
    module.use_graphs(counting)
    cond = events.batch(4).conditions(module.given)
    module.sample(cond, generator=torch.Generator().manual_seed(1))
    module.sample(cond, generator=torch.Generator().manual_seed(1), posterior_draws=2)
    assert counting.times == 3


def test_a_processor_records_nothing(toy: Toy) -> None:
    events = toy("ds1_photons")
    with pytest.raises(UserError, match="device=cuda"):
        made("caloinn", events.spec).use_graphs()
