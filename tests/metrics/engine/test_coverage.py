"""Ranks of the truth among draws of posteriors that are right, too narrow or too wide."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.metrics.engine.coverage import coverage, ranks, uniformity


def drawn(width: float, n: int = 2000) -> torch.Tensor:
    """Ranks of normal truths, whose posterior is ``width`` times as wide as it should be."""
    g = torch.Generator().manual_seed(0)
    centre = torch.randn(n, 1, generator=g)
    truth = centre + torch.randn(n, 1, generator=g)
    draws = centre + width * torch.randn(100, n, 1, generator=g)
    return ranks(truth, draws)


def test_a_right_posterior_covers_the_truth_as_often_as_it_says() -> None:
    for content in (0.5, 0.9):
        (found,) = coverage(drawn(1.0), content)
        assert found.floor == content
        assert abs(found.value - content) < 4 * found.error
    assert float(uniformity(drawn(1.0))) < 1.63 / 2000**0.5  # a chance of 1 % for uniform numbers


@pytest.mark.parametrize(("width", "covered"), [(0.5, 0.383), (2.0, 0.954)])
def test_a_wrong_width_shows(width: float, covered: float) -> None:
    (found,) = coverage(drawn(width))
    assert abs(found.value - covered) < 0.04  # |normal| < 1 / width
    assert float(uniformity(drawn(width))) > 0.08


def test_a_weight_of_two_is_two_events() -> None:
    rank = drawn(0.5, 50)
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 1.0]).repeat(10)
    again = rank[torch.repeat_interleave(torch.arange(50), weight.long())]
    assert coverage(rank, weight=weight)[0].value == pytest.approx(coverage(again)[0].value)
    torch.testing.assert_close(uniformity(rank, weight), uniformity(again))


def test_draws_that_are_equal_to_the_truth_lie_in_the_middle() -> None:
    assert ranks(torch.zeros(3, 1), torch.zeros(9, 3, 1)).tolist() == [[0.5]] * 3
    with pytest.raises(UserError, match="of the same events"):
        ranks(torch.zeros(3, 1), torch.zeros(9, 2, 1))
