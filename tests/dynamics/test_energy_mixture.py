"""Mixtures of normal distributions on a part of the line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm

from simulacra.dynamics.energy_mixture import Parts, log_prob, parts, sample

BOUNDS = [(0.0, 1e3), (0.0, 2.0), (0.0, 0.02), (4.0, 4.5), (9.0, 30.0), (0.0, 1e-5)]
"""Without a bound, around the means, narrow, in a tail, far in it, and hardly any room."""


def mixture(*shape: int) -> Parts:
    """Two parts around 1 and 2.5 of widths 0.3 and 1."""
    logs = torch.log(torch.tensor([0.3, 0.7]))
    means, widths = torch.tensor([1.0, 2.5]), torch.log(torch.tensor([0.3, 1.0]))
    one, two, three = (part.expand(*shape, 2) for part in (logs, means, widths))
    return one, two, three


def grid(low: float, high: float, n: int = 20_001) -> torch.Tensor:
    return torch.linspace(low, min(high, low + 12.0), n, dtype=torch.float64)


def density(low: float, high: float, value: torch.Tensor) -> torch.Tensor:
    ends = (torch.full_like(value, end) for end in (low, high))
    whole: Parts = tuple(part.double() for part in mixture(len(value)))  # type: ignore[assignment]
    return log_prob(whole, value, *ends).exp()


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_the_density_integrates_to_one_between_its_bounds(low: float, high: float) -> None:
    value = grid(low, high)
    found = torch.trapezoid(density(low, high, value), value)
    assert float(found) == pytest.approx(1, abs=2e-4 if high - low > 1e-4 else 2e-2)


def test_there_is_no_density_beyond_the_bounds() -> None:
    value = torch.tensor([0.5, 1.5])
    found = log_prob(mixture(2), value, torch.tensor([0.6, 0.0]), torch.tensor([2.0, 1.4]))
    assert found.tolist() == [-torch.inf, -torch.inf]


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1e3), (0.0, 2.0), (0.3, 0.32), (4.0, 4.5), (9.0, 30.0)]
)
def test_samples_follow_the_density(low: float, high: float) -> None:
    n = 4000
    drawn = sample(
        mixture(n), torch.full((n,), low), torch.full((n,), high), torch.Generator().manual_seed(0)
    )
    assert float(drawn.min()) >= low
    assert float(drawn.max()) <= high
    value = grid(low, high)
    below = torch.cumulative_trapezoid(density(low, high, value), value)

    def share(x: np.ndarray) -> np.ndarray:
        return np.interp(x, value[1:].numpy(), below.numpy())

    assert kstest(drawn.double().numpy(), share).pvalue > 1e-3


@pytest.mark.parametrize("low", [-2.0, 0.5, 3.0, 6.0])
def test_one_part_is_a_truncated_normal_distribution(low: float) -> None:
    one = (torch.zeros(5, 1), torch.full((5, 1), 1.0), torch.full((5, 1), -1.0))
    width, value = float(torch.tensor(-1.0).exp()), low + torch.linspace(0.01, 0.7, 5)
    found = log_prob(one, value, torch.full((5,), low), torch.full((5,), low + 0.8))
    ends = ((low - 1) / width, (low + 0.8 - 1) / width)
    wanted = truncnorm.logpdf(value.double().numpy(), *ends, loc=1.0, scale=width)
    torch.testing.assert_close(found.double(), torch.from_numpy(wanted), rtol=1e-4, atol=1e-4)


def test_gradients_are_finite_in_tails_and_without_room() -> None:
    numbers = torch.randn(6, 12, generator=torch.Generator().manual_seed(0)) * 4
    numbers.requires_grad_()
    low, high = torch.zeros(6), torch.tensor([1e3, 1e-7, 0.05, 40.0, 3.0, 1e-3])
    made = parts(numbers, torch.tensor(2.0), torch.tensor(0.7))
    log_prob(made, high.clamp(max=35.0) / 2, low, high).sum().backward()
    assert numbers.grad is not None
    assert bool(numbers.grad.isfinite().all())
    assert bool((numbers.grad != 0).any(1).all())
