"""Distances of Kolmogorov and Smirnov, by scipy's and by repeated events."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from simulacra.metrics.distances.kolmogorov import Distribution, kolmogorov


def values(n: int, seed: int) -> Tensor:
    """A smooth observable, one of few values, one that is undefined at times."""
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 1] = x[:, 1].round()
    x[:, 2] = torch.where(x[:, 2] > 1, torch.nan, x[:, 2])
    return x


def test_distances_are_those_of_scipy_and_undefined_values_lie_below_all_others() -> None:
    first, second = values(300, 0), values(170, 1) + 0.1
    found = kolmogorov(first, second)
    for column, distance in enumerate(found):
        pair = [x[:, column].nan_to_num(nan=-99.0).numpy() for x in (first, second)]
        assert float(distance) == pytest.approx(ks_2samp(*pair).statistic, abs=1e-12)


def test_an_event_of_weight_two_is_two_events() -> None:
    first, second = values(200, 0), values(150, 1)
    weights = [(torch.arange(n) % 3 + 1).double() for n in (200, 150)]
    repeated = [
        x.repeat_interleave(w.long(), 0) for x, w in zip((first, second), weights, strict=True)
    ]
    expected = kolmogorov(*repeated)
    torch.testing.assert_close(kolmogorov(first, second, (weights[0], weights[1])), expected)
    assert not torch.allclose(kolmogorov(first, second), expected)


def test_many_samples_are_placed_once() -> None:
    truth, pool = values(200, 0), values(300, 1)
    known = Distribution(truth)
    places, index = known.places(pool), torch.arange(40, 120)
    found = torch.from_numpy(known.distances(places[:, index.numpy()]))
    torch.testing.assert_close(found, kolmogorov(truth, pool[index]))
