"""Unfolding of a histogram against matrices that are known."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.metrics.binned_unfolding import Response, content, edges, place


def events(
    n: int, seed: int, mean: float = 0.0, sd: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    true = mean + sd * torch.randn(n, generator=g)
    return true, true + 0.5 * torch.randn(n, generator=g)


def test_one_iteration_is_the_theorem_of_bayes() -> None:
    true, seen = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1]), torch.tensor([0, 0, 1, 0, 1, 1, 1, 1])
    response = Response.of(true, seen, (2, 2))
    torch.testing.assert_close(
        response.matrix, torch.tensor([[2 / 3, 1 / 5], [1 / 3, 4 / 5]]).double()
    )
    (found,) = response.iterated(torch.tensor([8.0, 8.0]), 1)
    # of 8 events in the first bin 2 in 3 come from the first true bin, of those in the second 1 in 5
    torch.testing.assert_close(found, torch.tensor([8 * 2 / 3 + 8 / 5, 8 / 3 + 8 * 4 / 5]).double())


def test_iterations_end_where_the_folded_spectrum_is_the_measured_one() -> None:
    true, seen = events(20_000, 0)
    inner = edges(true, 4)
    response = Response.of(place(true, inner), place(seen, inner), (5, 5))
    spectrum = torch.tensor([3.0, 1.0, 2.0, 1.0, 0.0]).double()
    found = response.iterated(response.matrix @ spectrum, 2000)[-1]
    torch.testing.assert_close(found, spectrum, rtol=1e-3, atol=1e-3)


def test_losses_and_fakes_are_corrected_for() -> None:
    true, seen = torch.tensor([0, 0, 1, 1, 0, 0]), torch.tensor([0, 0, 1, 0, 1, 1])
    genuine = torch.tensor([True, True, True, True, False, False])
    detected = torch.tensor([True, True, True, False, True, True])
    response = Response.of(true, seen, (2, 2), None, genuine, detected)
    assert response.matrix.sum(0).tolist() == [1.0, 0.5]
    assert response.fake.tolist() == [0.0, pytest.approx(2 / 3)]
    (found,) = response.iterated(torch.tensor([2.0, 3.0]), 1)
    torch.testing.assert_close(found, torch.tensor([2.0, 2.0]).double())


def test_a_shifted_spectrum_is_found_again_and_factors_are_drawn_to_the_simulation() -> None:
    true, seen = events(40_000, 1)
    inner = edges(true, 20)
    response = Response.of(place(true, inner), place(seen, inner), (21, 21))
    truth, measured = events(40_000, 2, 0.3, 0.85)
    m = content(place(measured, inner), 21, torch.ones(40_000))
    expected = content(place(truth, inner), 21, torch.ones(40_000)) / 40_000

    def far(found: torch.Tensor) -> float:
        return float((found / found.sum() - expected).abs().sum())

    before = far(response.prior)
    course = [far(found) for found in response.iterated(m, 4)]
    assert course[3] < 0.35 * before
    assert course[3] < course[0]
    assert course[3] < far(response.corrected(m)) < before


def test_a_weight_of_two_is_two_events() -> None:
    true, seen = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
    weight = torch.tensor([2.0, 1.0, 0.0])
    index = torch.tensor([0, 0, 1])
    one, two = (
        Response.of(true, seen, (2, 2), weight),
        Response.of(true[index], seen[index], (2, 2)),
    )
    for name in ("matrix", "prior", "seen", "fake"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))
    assert edges(torch.tensor([1.0, 2.0, 3.0]), 2, torch.tensor([3.0, 1.0, 1.0])).tolist() == [1.0]


def test_values_that_are_not_defined_have_a_bin_of_their_own() -> None:
    inner = edges(torch.tensor([0.0, 1, 2, 3, float("nan")]), 2)
    assert place(torch.tensor([-9.0, 9.0, float("nan")]), inner).tolist() == [0, 1, 2]


def test_what_cannot_be_is_refused() -> None:
    response = Response.of(torch.tensor([0, 1]), torch.tensor([0, 0]), (2, 3))
    with pytest.raises(UserError, match="at least one step, got 0"):
        response.iterated(torch.ones(3), 0)
    with pytest.raises(UserError, match="the same bins at both levels"):
        response.corrected(torch.ones(3))
