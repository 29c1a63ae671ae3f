"""Figures of plain samples, held against numpy and scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from simulacra import metrics
from simulacra.core import Batch, UserError

NAMES = ["fpd", "kpd", "w1", "separation", "prdc", "boosted"]
FAST: dict[str, dict[str, int]] = {
    "fpd": {"min_samples": 100, "max_samples": 200},
    "kpd": {"batch_size": 100},
}


def normal(seed: int, *shape: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, shape)


def figure(name: str, *pair: object) -> Any:
    function: Callable[..., Any] = getattr(metrics, name)
    return function(*pair, **FAST.get(name, {}))


def test_w1_is_scipys_with_an_error_of_the_right_size() -> None:
    a, b = normal(0, 500), normal(1, 700, shift=0.5)
    found = metrics.w1(a, b)
    assert found.value == pytest.approx(wasserstein_distance(a, b), rel=1e-12)
    assert found.error is not None
    again = [
        wasserstein_distance(normal(i, 500), normal(i + 99, 700, shift=0.5)) for i in range(60)
    ]
    assert found.error == pytest.approx(np.std(again), rel=0.4)


def test_separation_is_that_of_numpys_histograms() -> None:
    a, b = normal(0, 3000), normal(1, 2000, shift=0.3)
    for bins, edges in (
        (20, np.histogram_bin_edges(a, 20)),
        (grid := np.linspace(-2, 2, 31), grid),
    ):
        p, q = (np.histogram(x, edges)[0] for x in (a, b))
        p, q = p / p.sum(), q / q.sum()
        expected = 0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum()
        found = metrics.separation(a, b, bins=bins)
        assert found.value == pytest.approx(expected, rel=1e-12)
    assert metrics.separation(a, a).value == 0
    assert metrics.separation(a, b + 100).value == 1
    spread = np.std(
        [
            metrics.separation(normal(i, 3000), normal(i + 99, 2000, shift=0.3), bins=20).value
            for i in range(30)
        ]
    )
    assert metrics.separation(a, b, bins=20).error == pytest.approx(spread, rel=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_worse_sample_scores_worse_in_any_container(name: str) -> None:
    a, same, far = normal(0, 120, 2), normal(1, 120, 2), normal(2, 120, 2, shift=1.5)
    near, bad = figure(name, a, same), figure(name, a, far)
    if name == "prdc":
        assert bad["coverage"].value < near["coverage"].value
        assert bad["precision"].error is not None
    else:
        assert bad.value > near.value
        assert bad.error > 0
    assert figure(name, torch.from_numpy(a), far.tolist()) == bad


@pytest.mark.parametrize("name", NAMES)
def test_one_value_per_event_is_one_feature(name: str) -> None:
    a, b = normal(0, 80), normal(1, 60, shift=1.0)
    assert figure(name, a, b) == figure(name, a[:, None], torch.from_numpy(b)[:, None])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ((normal(0, 60, 2), normal(1, 60, 3)), "same features, got 2 and 3"),
        ((normal(0, 60, 2, 2), normal(1, 60, 2)), r"reference sample has the shape \(60, 2, 2\)"),
        ((normal(0, 60), 1.0), r"generated sample has the shape \(\)"),
        ((normal(0, 60, 0), normal(1, 60, 0)), r"shape \(60, 0\)"),
        ((normal(0, 60), np.full(60, np.nan)), "generated sample holds 60 NaN"),
        ((np.append(normal(0, 60), np.inf), normal(0, 60)), "reference sample holds 1 NaN or inf"),
        ((normal(0, 60), normal(1, 1)), "too few events.* got 1"),
        ((normal(0, 0), normal(1, 60)), "too few events.* got 0"),
        ((normal(0, 60), ["a"] * 60), "must be numbers, got str"),
        ((normal(0, 60), normal(1, 60) * 1j), "must be numbers, got complex"),
        ((normal(0, 60), [[1.0], [1.0, 2.0]]), "rows of equal length"),
        ((normal(0, 60), None), "must be numbers, got NoneType"),
        ((normal(0, 60), Batch(torch.zeros(60, 1))), r"batch\.numpy\(\)"),
    ],
)
def test_what_is_no_pair_of_samples_is_one_sentence(
    name: str, pair: tuple[object, object], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        figure(name, *pair)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("separation", {"bins": 0}, "at least one bin"),
        ("separation", {"bins": [1.0]}, "two edges in rising order"),
        ("separation", {"bins": [1.0, 0.0]}, "rising order"),
        ("prdc", {"k": 0}, "k=0"),
        ("prdc", {"k": 60}, "more than 60 events"),
        ("kpd", {"batch_size": 1}, "batch_size=1"),
        ("fpd", {"min_samples": 1}, "min_samples=1"),
        ("fpd", {"min_samples": 10, "max_samples": 10}, "max_samples=10"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        getattr(metrics, name)(normal(0, 60), normal(1, 60), **options)
