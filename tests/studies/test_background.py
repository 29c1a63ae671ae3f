"""Regions, additive moments and the uncertainty of predictions of background."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, UserError
from simulacra.studies.background.prediction import apart, central, uncertainty
from simulacra.studies.background.regions import Extrapolation, passed
from simulacra.studies.background.templates import Linear


def batch(n: int = 4000) -> Batch:
    g = torch.Generator().manual_seed(0)
    jets, tags = (torch.randint(3, (n, 1), generator=g).float() for _ in range(2))
    noise = torch.randn(n, 1, generator=g) * (0.2 * jets).exp()
    return Batch(1 + 0.5 * jets - 0.3 * tags + noise, {"jets": jets, "tags": tags})


def test_cuts_hold_both_ends_and_regions_are_unions() -> None:
    events = batch()
    jets, tags = (events.cond[name][:, 0] for name in ("jets", "tags"))
    step = Extrapolation(
        [{"jets": [0, 1]}, {"jets": [2, 2], "tags": [0, 0]}], {"jets": [2, 2], "tags": [1, 2]}
    )
    assert torch.equal(step.controls(events), (jets < 2) | (tags == 0))
    assert torch.equal(step.targets(events), (jets == 2) & (tags > 0))
    with pytest.raises(UserError, match="a cut names a condition"):
        passed(events, {"mass": [0, 1]})
    with pytest.raises(UserError, match="at least one control region"):
        Extrapolation([], {"jets": [2, 2]})


def test_moments_that_are_linear_are_found() -> None:
    events = batch()
    mean, width = Linear.of(events).at(events)
    jets, tags = events.cond["jets"].double(), events.cond["tags"].double()
    torch.testing.assert_close(mean, 1 + 0.5 * jets - 0.3 * tags, atol=0.1, rtol=0)
    torch.testing.assert_close(width, (0.2 * jets).exp(), atol=0, rtol=0.08)


def test_an_uncertainty_is_the_non_closure_and_twice_the_errors() -> None:
    validation = {"w1/x": 0.5, "w1/x/error": 0.03, "w1_mean": 0.5, "w1_mean/error": 0.03}
    signal = {"w1/x": 0.55, "w1/x/error": 0.04}
    found = uncertainty(validation, signal)
    assert found == {"uncertainty/x": pytest.approx(0.6), "used/x": pytest.approx(0.55 / 0.6)}
    first = {"w1_mean": 0.1, "w1_mean/error": 0.04}
    assert apart(first, validation) == {
        "": pytest.approx(0.4), "/error": pytest.approx(0.05), "/z": pytest.approx(8.0)
    }  # fmt: skip


def test_the_first_member_is_central_and_the_spread_of_all_part_of_the_error() -> None:
    members = [{"w1/x": value, "w1/x/error": 0.3} for value in (1.0, 1.4, 0.6)]
    assert central(members) == {"w1/x": 1.0, "w1/x/error": pytest.approx(0.5)}
