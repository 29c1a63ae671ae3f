"""Binning by arithmetic against a plain search of the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.metrics.engine.bins import BLOCK, bin_index, histogram


def searched(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """numpy's convention: the last edge belongs to the last bin."""
    index = np.searchsorted(edges, values.astype(np.float64), side="right")
    return np.where(values == edges[-1], len(edges) - 1, index)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "edges",
    [
        np.linspace(-3, 5, 101),
        np.logspace(-1.82, 4.1, 50),
        np.array([0.0, 0.5, 3.0, 3.1]),
        np.array([-2.0, 0.0, 1.0]),
        np.linspace(1e6, 1e6 + 1, 41),
        np.linspace(0.1, 0.7, 31, dtype=np.float32).astype(np.float64),  # even but for rounding
    ],
)
def test_every_value_lands_where_a_search_puts_it(dtype: type, edges: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    width = edges[-1] - edges[0]
    even = rng.uniform(edges[0] - 0.3 * width, edges[-1] + 0.3 * width, 5000)
    close = rng.choice(edges, 2000) + 1e-7 * width * rng.normal(size=2000)
    exact = [edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)]
    values = np.concatenate([even, close, *exact, [0.0, -1e30, 1e30]]).astype(dtype)
    found = bin_index(torch.from_numpy(values), torch.from_numpy(edges))
    np.testing.assert_array_equal(found.numpy(), searched(values, edges))


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-1e3, 1e3),
    width=st.floats(1e-3, 1e4),
    bins=st.integers(1, 300),
    seed=st.integers(0, 2**16),
)
def test_even_bins_of_any_place_and_width(low: float, width: float, bins: int, seed: int) -> None:
    edges = np.linspace(low, low + width, bins + 1)
    values = np.random.default_rng(seed).normal(low + width / 2, width, 200)
    found = bin_index(torch.from_numpy(values), torch.from_numpy(edges))
    np.testing.assert_array_equal(found.numpy(), searched(values, edges))


def test_blocks_do_not_matter_and_weights_are_summed() -> None:
    rng = np.random.default_rng(1)
    values, weight = rng.normal(size=BLOCK + 7), rng.uniform(size=BLOCK + 7)
    edges = np.linspace(-2, 2, 21)
    found = histogram(torch.from_numpy(values), torch.from_numpy(edges), torch.from_numpy(weight))
    expected, _ = np.histogram(values, edges, weights=weight)
    np.testing.assert_allclose(found[1:-1].numpy(), expected, rtol=1e-10)
    assert float(found[0]) == pytest.approx(weight[values < -2].sum())
    assert float(found[-1]) == pytest.approx(weight[values > 2].sum())
