"""Fits of two peaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from simulacra.core import UserError
from simulacra.data.toy_samples import ToyPeaks
from simulacra.metrics.worth.averaging import Cells
from simulacra.metrics.worth.shares import mean_square, worth_of_mean_square
from simulacra.studies.parametric import TwoPeaks


def peaks(repeats: int, n: int = 100) -> torch.Tensor:
    return ToyPeaks(seed=3).sample(repeats * n, "train")["x"].view(repeats, n)


def test_a_fit_has_the_parameters_of_another_implementation() -> None:
    samples = peaks(3)
    share, mean, width = TwoPeaks().fit(samples)
    for k, sample in enumerate(samples):
        known = GaussianMixture(2, tol=1e-9, max_iter=1000, reg_covar=0.0, random_state=0)
        known.fit(sample.numpy()[:, None])
        order = np.argsort(known.means_[:, 0])
        np.testing.assert_allclose(share[k], known.weights_[order], rtol=1e-4)
        np.testing.assert_allclose(mean[k], known.means_[order, 0], rtol=1e-4)
        np.testing.assert_allclose(width[k], known.covariances_[order, 0, 0] ** 0.5, rtol=1e-4)


def test_a_fit_to_a_hundred_events_is_worth_more_than_two_hundred() -> None:
    """Of 60 fits by nature: over 6 times 60 of them 223 to 243 in 10 cells, and 946 to 1,053 in 50."""
    samples, truth = peaks(60), ToyPeaks().sample(200_000, "test")["x"][:, None]
    for parts, low, high in ((10, 200, 300), (50, 800, 1_250)):
        cells = Cells(truth, parts)
        known = cells.shares(truth)
        shares = TwoPeaks().shares(samples, cells.edges[0][0])
        torch.testing.assert_close(shares.sum(1), torch.ones(60).double())
        assert low < float(worth_of_mean_square(mean_square(shares, known).mean(), known)) < high


def test_a_fit_that_does_not_settle_says_so() -> None:
    with pytest.raises(UserError, match="has not converged in 2 steps"):
        TwoPeaks(steps=2).fit(torch.rand(1, 100))
