"""Chains that draw from densities whose moments are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.dynamics.hamiltonian import Hamiltonian, r_hat

WIDTHS = torch.tensor([0.5, 2.0])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(z: Tensor) -> Tensor:
    return -0.5 * (z / WIDTHS).square().sum(1)


def start(chains: int, seed: int = 0) -> Tensor:
    return WIDTHS * torch.randn(chains, 2, generator=generator(seed))


def test_draws_have_the_moments_of_the_density_and_chains_agree() -> None:
    chains = Hamiltonian(4.0, 0.25, 30, target=0.8).run(normal, start(100), 40, generator(1))
    assert chains.states.shape == (40, 100, 2)
    flat = chains.states.flatten(0, 1)
    torch.testing.assert_close(flat.std(0), WIDTHS, rtol=0.05, atol=0)
    assert bool((flat.mean(0).abs() < 0.1 * WIDTHS).all())
    assert 0.65 < chains.acceptance < 0.95
    assert chains.r_hat < 1.05


def test_a_size_is_found_from_far_off_and_stays_without_a_target() -> None:
    for first in (0.02, 2.0):
        chains = Hamiltonian(3.0, first, 80, target=0.8).run(normal, start(100), 20, generator(1))
        assert 0.65 < chains.acceptance < 0.93, first
    fixed = Hamiltonian(1.5, 0.3, 80).run(normal, start(10), 4, generator(1))
    assert fixed.step == pytest.approx(0.3)


@pytest.mark.parametrize("guide", [lambda z: -0.5 * z.square().sum(1), lambda z: 0 * z.sum(1)])
def test_a_stand_in_for_the_gradient_changes_acceptance_and_not_the_density(guide) -> None:
    """A density with a jump, which has no gradient there; the second stand-in knows nothing at all."""

    def jump(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > 0, 0.0, math.log(0.25)) - 0.5 * z.square().sum(1)

    chains = Hamiltonian(1.2, 0.15, 20, thin=2).run(jump, start(400), 50, generator(2), guide)
    right = float((chains.states[..., 0] > 0).float().mean())
    assert abs(right - 0.8) < 0.015  # 20,000 draws that hang together
    assert chains.acceptance < 0.99


def test_steps_that_are_too_long_are_refused_and_do_not_widen_the_density() -> None:
    """Leapfrog alone keeps a normal density of width s at s / sqrt(1 - (0.85 / 2 s)^2): 0.95 for 0.5."""
    coarse = Hamiltonian(2.55, 0.85, 50).run(normal, start(400), 50, generator(3))
    assert coarse.acceptance < 0.9
    torch.testing.assert_close(coarse.states.flatten(0, 1).std(0), WIDTHS, rtol=0.06, atol=0)


def test_chains_that_stay_where_they_started_are_seen() -> None:
    far = torch.tensor([[-10.0], [10.0]]).repeat(20, 1)

    def two_modes(z: Tensor) -> Tensor:
        return torch.logsumexp(-0.5 * (z - torch.tensor([-10.0, 10.0])).square(), 1)

    chains = Hamiltonian(2.0, 0.2, 10).run(two_modes, far, 20, generator(4))
    assert chains.r_hat > 3


def test_r_hat_is_that_of_its_definition() -> None:
    states = torch.randn(8, 3, 1, generator=generator(5)).double()
    halves = [states[a:b, k, 0] for k in range(3) for a, b in ((0, 4), (4, 8))]
    means = torch.stack([half.mean() for half in halves])
    within = torch.stack([half.var() for half in halves]).mean()
    wanted = ((3 / 4 * within + means.var()) / within).sqrt()
    torch.testing.assert_close(r_hat(states)[0], wanted)
    with pytest.raises(UserError, match="at least four draws of each chain, got 3"):
        r_hat(states[:3])


def test_what_cannot_be_drawn_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"got target=0\.8 and warmup=0"):
        Hamiltonian(0.5, 0.1, 0, target=0.8)
    with pytest.raises(UserError, match="2 of 4 chains start where the density is 0"):
        Hamiltonian(0.5, 0.1, 0).run(
            lambda z: torch.where(z[:, 0] > 0, 0.0, -math.inf),
            torch.tensor([[1.0], [-1], [2], [-2]]),
            1,
        )


def test_a_density_that_overflows_is_not_accepted() -> None:
    """Far off the density is infinite in single precision, and a step that is too long leads there."""

    def overflowing(z: Tensor) -> Tensor:
        return (60 * z[:, 0]).exp().log() - 30 * z[:, 0].square()

    first = torch.ones(50, 1) + 0.1 * torch.randn(50, 1, generator=generator(7))
    far = Hamiltonian(9.0, 1.5, 10).run(overflowing, first, 10, generator(8), lambda z: z.sum(1))
    assert float(far.states.max()) < 1.47  # exp(60 z) ends at 1.478


def test_the_same_generator_gives_the_same_draws() -> None:
    one, two = (Hamiltonian(0.8, 0.2, 3).run(normal, start(5), 4, generator(6)) for _ in range(2))
    assert torch.equal(one.states, two.states)
