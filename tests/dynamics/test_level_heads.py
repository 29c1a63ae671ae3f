"""Distributions of levels: they sum to one, with the ends, and come near to what they start from."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.dynamics.level_heads import LevelHead, Logistics, Softmax

HEADS = pytest.mark.parametrize("head", [Softmax(17), Logistics(17, 5), Logistics(256, 10)])


def numbers(head: LevelHead, width: float, n: int = 400) -> torch.Tensor:
    return width * torch.randn(n, head.outputs, generator=torch.Generator().manual_seed(0))


@HEADS
@pytest.mark.parametrize("width", [0.1, 1.0, 6.0])
def test_probabilities_of_all_levels_sum_to_one(head: LevelHead, width: float) -> None:
    found = head.probabilities(numbers(head, width))
    assert found.shape == (400, head.levels)
    assert bool((found >= 0).all())
    torch.testing.assert_close(found.sum(1), torch.ones(400), rtol=0, atol=1e-5)


@HEADS
def test_the_density_is_the_logarithm_of_the_probabilities_and_has_gradients(head) -> None:
    values = numbers(head, 3.0).requires_grad_()
    level = torch.arange(400) % head.levels
    logs = head.log_prob(values, level.float())
    expected = head.probabilities(values).gather(1, level[:, None])[:, 0]
    torch.testing.assert_close(logs.exp(), expected, rtol=1e-4, atol=1e-7)
    logs.sum().backward()
    assert bool(values.grad.isfinite().all())
    assert bool((values.grad.abs().sum(0) > 0).all())


def test_masses_of_a_mixture_are_differences_of_its_cumulative_distribution() -> None:
    """Against double precision, from the closed form; the ends take the tails."""
    head = Logistics(9, 3)
    values = numbers(head, 1.0).double()
    hit, weights, means, widths = (
        values[:, 0], values[:, 1:4].softmax(1), values[:, 4:7], values[:, 7:].exp(),
    )  # fmt: skip
    edges = torch.linspace(-1, 1, 9, dtype=torch.float64)
    cumulative = torch.sigmoid((edges[:, None, None] - means) / widths)  # (9, n, 3)
    cumulative[0], cumulative[-1] = 0, 1
    mixed = (cumulative.diff(dim=0) * weights).sum(-1).T * hit.sigmoid()[:, None]
    expected = torch.cat([(-hit).sigmoid()[:, None], mixed], dim=1)
    found = head.probabilities(values.float()).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_far_tails_and_narrow_parts_stay_finite_also_from_half_precision() -> None:
    head = Logistics(64, 1)
    level = torch.arange(64.0)
    for mean, width in ((-5.0, -12.0), (5.0, -12.0), (0.3, -7.0), (0.0, 9.0)):
        values = torch.tensor([0.5, 0.0, mean, width]).expand(64, -1)
        logs = head.log_prob(values, level)
        assert bool(logs.isfinite().all()), (mean, width)
        half = head.log_prob(values.half(), level)
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, head.log_prob(values.half().float(), level))


@HEADS
def test_what_is_no_number_has_no_probability(head: LevelHead) -> None:
    values = numbers(head, 1.0)
    values[3, 0] = torch.nan
    found = head.probabilities(values)
    assert bool(found[3].isnan().any())
    assert bool(found[4].isfinite().all())


def test_a_softmax_starts_at_the_shares_and_a_mixture_near_them() -> None:
    levels = torch.arange(64.0)
    bump = torch.exp(-((levels - 40) / 6).square()) + 1e-3
    shares = torch.stack([bump, bump.flip(0)])
    shares[:, 0] = shares[:, 1:].sum(1)
    shares = shares / shares.sum(1, keepdim=True)
    plain = Softmax(64)
    torch.testing.assert_close(plain.probabilities(plain.start(shares)), shares)
    mixture = Logistics(64, 10)
    start = mixture.start(shares)
    made = mixture.probabilities(start)
    torch.testing.assert_close(made[:, 0], shares[:, 0], atol=1e-4, rtol=0)
    assert float((made - shares).abs().sum(1).max()) < 0.25  # twice the total variation
    assert len(start[0, 11:21].unique()) == 10  # means differ, so that no part is dead


def test_a_mixture_needs_levels() -> None:
    with pytest.raises(UserError, match="two levels"):
        Logistics(2, 3)
