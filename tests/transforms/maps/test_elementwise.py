"""Elementwise maps: exact inverses on their domains, as properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulacra.transforms.maps.base import Compose, Map
from simulacra.transforms.maps.elementwise import Log, Logit, Moments, Scale, Standardise

FEW = settings(max_examples=25, deadline=None)


def values(low: float, high: float) -> st.SearchStrategy[torch.Tensor]:
    elements = st.floats(low, high, width=32, allow_subnormal=False)
    return arrays("float32", (7, 3), elements=elements).map(torch.from_numpy)


def check_round_trip(item: Map, x: torch.Tensor, atol: float, rtol: float = 1e-5) -> None:
    before = x.clone()
    y = item(x)
    assert torch.isfinite(y).all()
    assert torch.equal(x, before), "a map worked in place"
    torch.testing.assert_close(item.inverse(y), x, atol=atol, rtol=rtol)


@FEW
@given(values(0, 1), st.sampled_from([1e-2, 1e-4, 1e-6]))
def test_logit_round_trips_on_the_unit_interval(x: torch.Tensor, alpha: float):
    check_round_trip(Logit(alpha), x, atol=5e-7)
    assert Logit(alpha)(x).abs().max() <= Logit(alpha)(torch.ones(1)).item() * (1 + 1e-6)


def test_logit_names_the_value_outside_its_domain():
    with pytest.raises(ValueError, match=r"needs values in \[0, 1\], got 1.37"):
        Logit()(torch.tensor([0.2, 1.37]))


@FEW
@given(values(0, 2**22))
def test_log_with_an_offset_round_trips_on_non_negative_values(x: torch.Tensor):
    check_round_trip(Log(1.0), x, atol=1e-6, rtol=1e-4)


def test_log_refuses_zero_without_an_offset_and_its_inverse_never_overflows():
    with pytest.raises(ValueError, match="needs values above"):
        Log()(torch.zeros(2))
    assert torch.isfinite(Log().inverse(torch.tensor([1e9]))).all()


@FEW
@given(values(-1e4, 1e4))
def test_standardise_round_trips_and_gives_mean_0_and_variance_1(x: torch.Tensor):
    item = Standardise(3)
    item.fit(x)
    y = item(x)
    torch.testing.assert_close(item.inverse(y), x, atol=1e-2, rtol=1e-5)
    varied = x.double().std(0, correction=0) > 1e-3 * (1 + x.double().mean(0).abs())
    torch.testing.assert_close(y.mean(0)[varied], torch.zeros(3)[varied], atol=2e-3, rtol=0)
    torch.testing.assert_close(
        y.std(0, correction=0)[varied], torch.ones(3)[varied], atol=2e-3, rtol=0
    )


@FEW
@given(arrays("bool", (6, 5)).filter(lambda m: m.sum() >= 2).map(torch.from_numpy))
def test_masked_standardise_ignores_and_keeps_padding(mask: torch.Tensor):
    x = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0)) * mask[..., None]
    item = Standardise(3)
    item.fit(x, mask)
    y = item(x, mask)
    assert (y[~mask] == 0).all()
    torch.testing.assert_close(y[mask].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(item.inverse(y, mask), x)


def test_streamed_moments_equal_those_of_the_whole():
    x = 1e4 + torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    for part in x.split(170):
        moments.add(part)
    mean, std = moments.result()
    torch.testing.assert_close(mean, x.double().mean(0))
    torch.testing.assert_close(std, x.double().std(0, correction=0))
    with pytest.raises(ValueError, match="saw no events"):
        Moments().result()


@FEW
@given(values(0, 1))
def test_a_composition_round_trips_and_fits_each_map_on_the_output_of_the_last(x: torch.Tensor):
    item = Compose(Scale(0.5), Logit(1e-4), Standardise(3))
    item.fit(x)
    check_round_trip(item, x, atol=1e-4)
    torch.testing.assert_close(
        item.maps[2].mean, Logit(1e-4)(0.5 * x).mean(0), atol=1e-4, rtol=1e-5
    )


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="alpha"):
        Logit(0.7)
    with pytest.raises(ValueError, match="positive factor"):
        Scale(0.0)
