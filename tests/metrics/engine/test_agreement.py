r"""Agreement: :math:`\chi^2` against closed forms, and how it is distributed for one truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, kstest

from simulacra.metrics.engine.agreement import joined, of_events, of_shares
from simulacra.metrics.engine.assemble import histograms
from simulacra.metrics.engine.binning import Binned, Binning, Counts
from simulacra.metrics.engine.sample import Column, Sample
from simulacra.physics.base import Axis


def sample(values: torch.Tensor, weight: torch.Tensor | None = None) -> Sample:
    """Events with one value (``(N,)``) or several (``(N, K)``) of an observable ``x``."""
    n = len(values)
    counts = torch.full((n,), values[0].numel(), dtype=torch.int64)
    column = Column(values.double().flatten(), counts, values.ndim == 1)
    weights = torch.ones(n, dtype=torch.float64) if weight is None else weight.double()
    return Sample(n, weights, {"x": column}, torch.zeros(n, 0), {}, {}, None)


def agreement(first: Sample, second: Sample, bins: int = 8):  # type: ignore[no-untyped-def]
    edges = {"x": torch.linspace(-2, 2, bins + 1, dtype=torch.float64)}
    binning = Binning({"x": Axis("x")}, edges, {"x": 1.0}, (), 1.0, {})
    return histograms(Binned(first, binning), Binned(second, binning))["x"].agreement


def test_counts_give_the_chi2_of_a_contingency_table() -> None:
    n, m = np.array([40.0, 100, 60, 25]), np.array([30.0, 70, 55, 45])
    found = of_shares((n, m), (n, m))
    assert found is not None
    pooled = chi2_contingency(np.stack([n, m]))
    assert (found.chi2, found.ndf) == (pytest.approx(pooled.statistic), pooled.dof)
    assert found.p == pytest.approx(pooled.pvalue)
    weighted = of_shares((3 * n, 0.5 * m), (9 * n, 0.25 * m))  # all weights alike
    assert weighted is not None
    assert weighted.chi2 == pytest.approx(pooled.statistic)
    same = of_shares((n, 2 * n), (n, 2 * n))
    assert same is not None
    assert (same.chi2, same.p) == (0.0, 1.0)


def test_bins_with_few_values_are_joined_with_their_neighbours() -> None:
    shares, variance = np.array([2.0, 3, 20, 1, 9, 4, 1, 1]), np.array([2.0, 3, 20, 1, 9, 4, 1, 1])
    groups = joined(shares, variance)
    assert (groups.T @ shares).tolist() == [25.0, 16.0]
    assert groups.sum(1).tolist() == [1.0] * 8
    assert joined(np.ones(3), np.ones(3)).shape == (3, 0)  # too few for a single bin
    assert of_shares((shares, shares), (np.zeros(8), np.zeros(8))) is None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("size", "bins"), [(600, 8), (3000, 50)])
def test_p_is_even_for_samples_of_one_distribution(weighted: bool, size: int, bins: int) -> None:
    generator = torch.Generator().manual_seed(1)

    def draw(n: int) -> Sample:
        values = torch.randn(n, generator=generator)
        weight = torch.rand(n, generator=generator) + 0.2 + values.abs() if weighted else None
        return sample(values, weight)

    found = [agreement(draw(size), draw(600), bins).p for _ in range(400)]
    assert kstest(found, "uniform").pvalue > 0.001
    assert np.mean(np.array(found) < 0.05) < 0.08
    shifted = sample(torch.randn(600, generator=generator) + 0.3)
    assert agreement(draw(size), shifted, bins).p < 0.01


def test_values_of_one_event_are_not_taken_as_independent() -> None:
    generator = torch.Generator().manual_seed(2)

    def draw() -> Sample:
        common = 0.7 * torch.randn(400, 1, generator=generator)
        return sample(common + 0.3 * torch.randn(400, 25, generator=generator))

    found = [agreement(draw(), draw()) for _ in range(60)]
    assert all(item.p is None for item in found)
    ratio = np.mean([item.chi2 / item.ndf for item in found])
    assert 0.9 < ratio < 1.15  # taken as independent it is above 3
    edges = torch.linspace(-2, 2, 9, dtype=torch.float64)
    counts = [Counts(draw().columns["x"], edges).plain[1:-1].numpy() for _ in range(2)]
    naive = of_shares((counts[0], counts[1]), (counts[0], counts[1]))
    assert naive is not None
    assert naive.chi2 / naive.ndf > 3


def test_too_few_events_for_a_covariance_give_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 25, generator=generator)
    assert agreement(sample(rows[:20]), sample(rows[20:])) is None


def test_a_direction_that_never_varies_takes_a_degree_of_freedom() -> None:
    covariance = np.array([[2.0, -2.0], [-2.0, 2.0]])  # the sum of both is fixed
    found = of_events((np.array([1.0, 0.0]), np.zeros(2)), (covariance, 0 * covariance), 1e3, False)
    assert found is not None
    assert (found.ndf, found.chi2) == (1, pytest.approx(0.5 / 4.0))
