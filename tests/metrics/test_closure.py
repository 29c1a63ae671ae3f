"""Closure of calibrations against what is known of made-up ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from simulacra.core import UserError
from simulacra.metrics.closure import Binned, closure, dependence, powered


@pytest.fixture
def events() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    true = 20 + 80 * torch.rand(8000, generator=g, dtype=torch.float64)
    feature = torch.randn(8000, generator=g, dtype=torch.float64)
    noise = torch.randn(8000, generator=g, dtype=torch.float64)
    return true, feature, 1 + 0.1 * noise


def test_a_calibration_that_is_right_on_average_closes_and_one_that_is_not_does_not(events) -> None:
    true, _, ratio = events
    binned = Binned.of(true, 5, 400, None)
    ones = torch.ones_like(ratio)
    right, wrong = (closure(r, ones, binned, 0) for r in (ratio, 1.05 * ratio))
    assert right.excess(0.01) < 1 < wrong.excess(0.01)
    torch.testing.assert_close(
        right.resolution[0], torch.full((5,), 0.1).double(), atol=0.005, rtol=0
    )
    expected = torch.full((5,), 0.1 / 1600**0.5).double()
    torch.testing.assert_close(right.error, expected, atol=0, rtol=0.4)
    assert float((wrong.centre[0] / right.centre[0] - 1.05).abs().max()) < 1e-9
    assert right.floor == pytest.approx(2 * 0.0025, rel=0.5)


def test_weights_count(events) -> None:
    true, _, ratio = events
    heavy = (ratio > 1).double()
    binned = Binned.of(true, 4, 400, None)
    found = closure(ratio, heavy, binned, 0).centre[0]
    torch.testing.assert_close(found[2], ratio[binned.rows(2)][heavy[binned.rows(2)] > 0].mean())


def test_the_core_is_not_moved_by_a_tail(events) -> None:
    true, feature, ratio = events
    tailed = torch.where(feature < -1.3, 0.4 * ratio, ratio)  # a tenth
    binned, ones = Binned.of(true, 4, 400, None), torch.ones_like(ratio)
    whole, core = (closure(tailed, ones, binned, 0, share).centre[0] for share in (1.0, 0.7))
    assert float((core - 1).abs().max()) < 0.01 < 0.04 < float((whole - 1).abs().min())


def test_a_dependence_is_seen_and_one_that_is_not_there_is_at_its_floor(events) -> None:
    true, feature, ratio = events
    binned = Binned.of(true, 5, 400, (30, 90))
    none = dependence(ratio, feature, binned, 0)
    some = dependence(ratio * (1 + 0.03 * feature), feature, binned, 0)
    assert none["value"] == pytest.approx(none["floor"], rel=0.5)
    assert some["value"] > 4 * some["floor"]
    assert some["value"] == pytest.approx(0.03 * 0.89, rel=0.2)  # rms of the means of thirds: 0.89


def test_bins_hold_enough_events_or_are_refused(events) -> None:
    true = events[0]
    assert Binned.of(true, 50, 1000, None).bins == 8
    with pytest.raises(UserError, match="a closure needs 400 events in a bin"):
        Binned.of(true, 5, 400, (20.0, 21.0))


@pytest.mark.parametrize("power", [0.0, 1.0, 5.0])
def test_events_are_weighted_to_a_power(events, power: float) -> None:
    true = events[0]
    weight = powered(true, power)
    edges = torch.tensor([25.0, 40.0, 60.0, 90.0], dtype=torch.float64)
    inside = [weight[(true >= a) & (true < b)].sum() for a, b in pairwise(edges)]
    t = torch.linspace(25, 90, 20001, dtype=torch.float64)
    wanted = [(t[(t >= a) & (t < b)] ** -power).sum() for a, b in pairwise(edges)]
    first, second = (torch.stack(part) / sum(part) for part in (inside, wanted))
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)
