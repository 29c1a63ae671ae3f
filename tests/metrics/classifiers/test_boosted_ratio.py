"""Weights from boosted trees against a known ratio, and as repeated events."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.metrics.classifiers.boosted_ratio import boosted_ratio


def normal(n: int, mean: float, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, generator=g) + mean


def error(found: torch.Tensor, x: torch.Tensor, shift: float) -> float:
    """Root mean square of ln w from the truth, in units of the truth's own spread."""
    truth = shift * x[:, 0].double() - shift**2 / 2
    return float((found.log() - truth).square().mean().sqrt() / truth.std())


def test_weights_are_the_ratio_and_unequal_sizes_do_not_matter() -> None:
    for n in (4000, 2000):
        second = normal(4000, 0.0, 1)
        found = boosted_ratio(normal(n, 0.8, 0), second, iterations=30)
        assert found.shape == (4000,)
        assert float(found.mean()) == pytest.approx(1, abs=0.1)
        assert error(found, second, 0.8) < 0.45


def test_of_one_distribution_weights_are_near_one() -> None:
    found = boosted_ratio(normal(4000, 0.0, 0), normal(4000, 0.0, 1), iterations=30)
    assert float(found.std()) < 0.05


def test_weights_of_the_target_are_events_of_it() -> None:
    first, second = normal(4000, 0.0, 0), normal(4000, 0.0, 1)
    weight = (0.8 * first[:, 0]).exp()
    found = boosted_ratio(first, second, weight, iterations=30)
    assert error(found, second, 0.8) < 0.45
    back = boosted_ratio(second, first, None, weight, iterations=30)
    assert float((back.log() + 0.8 * first[:, 0]).std()) < 0.5


def test_few_events_are_refused() -> None:
    with pytest.raises(UserError, match="at least 50 events of each sample, got 20 and 100"):
        boosted_ratio(normal(20, 0.0, 0), normal(100, 0.0, 1))
