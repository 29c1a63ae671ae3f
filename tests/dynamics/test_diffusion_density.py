from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from simulacra.core import Layout, UserError, draws
from simulacra.dynamics.diffusion import angular_velocity, flow_matching
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.solvers import Midpoint
from simulacra.nn.timed_mlp import TimedMLP


def density(context: int = 2) -> DiffusionDensity:
    torch.manual_seed(0)
    net = partial(TimedMLP, hidden=16, blocks=2, frequencies=3)
    return DiffusionDensity(Layout(3, context), net, flow_matching(), Midpoint(8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fixed(monkeypatch: pytest.MonkeyPatch, noise: Tensor, times: Tensor) -> None:
    """The same noise and time for the same event, wherever it stands."""
    monkeypatch.setattr(draws, "normal", lambda shape, like, generator=None: noise)
    monkeypatch.setattr(
        "simulacra.dynamics.diffusion.stratified_times", lambda n, like, generator=None: times
    )


def test_a_weight_of_two_is_the_event_twice_and_one_of_zero_no_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part, g = density(), generator()
    x, context, noise = (torch.randn(5, k, generator=g) for k in (3, 2, 3))
    times, weight = torch.rand(5, generator=g), torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0])
    fixed(monkeypatch, noise, times)
    weighted = part.loss(x, context, weight)
    index = torch.repeat_interleave(torch.arange(5), weight.long())
    fixed(monkeypatch, noise[index], times[index])
    torch.testing.assert_close(weighted, part.loss(x[index], context[index]))
    fixed(monkeypatch, noise, times)
    assert not torch.isclose(weighted, part.loss(x, context))
    torch.testing.assert_close(part.loss(x, context), part.loss(x, context, torch.ones(5)))


def test_copies_of_events_count_as_events() -> None:
    part, other, g = density(), density(), generator()
    other.copies = 3
    x, context, weight = (*(torch.randn(5, k, generator=g) for k in (3, 2)), torch.rand(5))
    thrice = part.loss(
        torch.cat([x] * 3), torch.cat([context] * 3), torch.cat([weight] * 3), generator()
    )
    torch.testing.assert_close(other.loss(x, context, weight, generator()), thrice)


def test_samples_repeat_with_a_generator_and_follow_the_context() -> None:
    part = density()
    context = torch.randn(6, 2, generator=generator())
    first, again = (part.sample(6, context, generator(1)) for _ in range(2))
    assert first.shape == (6, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, part.sample(6, context.flip(0), generator(1)))
    with pytest.raises(UserError, match="does not know their density"):
        part.log_prob(first)


def test_any_process_and_any_solver_do() -> None:
    net = partial(TimedMLP, hidden=8, blocks=1, frequencies=2)
    part = DiffusionDensity(Layout(2, 0), net, angular_velocity(), Midpoint(3))
    loss = part.loss(torch.randn(4, 2, generator=generator()), generator=generator())
    loss.backward()
    assert all(parameter.grad is not None for parameter in part.parameters())
    assert part.sample(4, None, generator()).shape == (4, 2)


def test_a_short_training_learns_a_gaussian_that_depends_on_the_context() -> None:
    part = density(1)
    optimizer = torch.optim.Adam(part.parameters(), 5e-3)
    g = generator(3)
    for _ in range(400):
        context = torch.randn(256, 1, generator=g)
        x = 2 * context + 0.5 * torch.randn(256, 3, generator=g)
        optimizer.zero_grad()
        part.loss(x, context, None, g).backward()
        optimizer.step()
    with torch.no_grad():
        context = torch.tensor([[-1.0], [1.0]]).repeat_interleave(1000, 0)
        made = part.sample(2000, context, generator(4)).view(2, 1000, 3)
    assert torch.allclose(made.mean(1), torch.tensor([[-2.0], [2.0]]).expand(2, 3), atol=0.25)
    assert torch.allclose(made.std(1), torch.full((2, 3), 0.5), atol=0.15)
