"""Noise in, event out, of flows and of whatever draws as many numbers for every event."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulacra.core import UserError, draws
from simulacra.core.noise import Recording
from simulacra.data.base import EventDataModule
from simulacra.training.checkpoint import build
from simulacra.training.generative import GenerativeModule
from support import tiny

Toy = Callable[..., EventDataModule]


def fitted(model: str, events: EventDataModule) -> GenerativeModule:
    torch.manual_seed(0)
    module = build(tiny(model), events.spec).fit_transform(events.fit_batches())
    assert isinstance(module, GenerativeModule)
    for parameter in module.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    module.record.conditions = events.batch(32).conditions(module.given) if module.given else None
    return module


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("model", "data", "width"),
    [
        ("caloinn", "ds1_photons", 5 + 368),
        ("table_flow", "table", 14 + 2),  # two columns are angles
        pytest.param("event_gan", "events", 6, marks=pytest.mark.grid),
    ],
)
def test_events_are_those_that_the_sampler_makes_of_the_same_numbers(
    model: str, data: str, width: int, toy: Toy
) -> None:
    module = fitted(model, toy(data))
    space = module.latent_space()
    assert space.width == width
    cond = module.draw_conditions(7, generator(1))
    recording = Recording(7, generator(2))
    with draws.given(recording):
        expected = module.sample(cond)
    noise = [
        torch.randn(7, draw.width, generator=source)
        for source in [generator(2)]
        for draw in recording.draws
    ]
    found = space.events(torch.cat(noise, 1), cond)
    assert torch.equal(found.x, expected.x)
    z = torch.randn(4, width, generator=generator(3))
    one = space.events(z, cond[:4])
    two = space.events(z.flip(0), cond[torch.tensor([3, 2, 1, 0])])
    torch.testing.assert_close(one.x, two.x.flip(0), rtol=1e-5, atol=1e-5)
    moved = space.events(z + 0.3, cond[:4])
    assert bool((moved.x != one.x).flatten(1).any(1).all())


@pytest.mark.grid
def test_uniform_numbers_come_from_normal_ones(toy: Toy) -> None:
    """A kernel density chooses its kernel by a uniform number."""
    module = fitted("wgan3d", toy("ild_10x10"))
    space = module.latent_space()
    assert {draw.kind for draw in space.draws} == {"normal", "uniform"}
    cond = module.draw_conditions(40, generator(0))
    z = torch.randn(40, space.width, generator=generator(1))
    assert bool(torch.isfinite(space.events(z, cond).x).all())
    assert bool(torch.isfinite(space.events(20 * z, cond).x).all())


def test_a_sampler_that_draws_counts_has_none(toy: Toy) -> None:
    module = fitted("vae", toy("ds1_photons"))
    with pytest.raises(UserError, match=r"VAE has no latent space .* draws counts") as said:
        module.latent_space()
    assert "\n" not in str(said.value)


def test_points_of_another_width_are_refused(toy: Toy) -> None:
    module = fitted("table_flow", toy("table"))
    with pytest.raises(UserError, match=r"shape \(3, 16\), got \(3, 15\)"):
        module.latent_space().events(torch.zeros(3, 15), module.draw_conditions(3))
