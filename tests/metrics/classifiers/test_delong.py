"""Areas under ROC curves and the errors of their differences."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from simulacra.core import UserError
from simulacra.metrics.classifiers.delong import areas


def scores(n: int, m: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two scores that look at the same signal and background through noise of their own; with ties."""
    generator = torch.Generator().manual_seed(seed)

    def draw(mean: float, size: int) -> torch.Tensor:
        common = mean + torch.randn(size, generator=generator)
        noise = torch.randn(2, size, generator=generator)
        return ((common + torch.tensor([[0.3], [0.4]]) * noise) * 20).round() / 20

    return draw(1.0, n), draw(0.0, m)


def test_areas_are_those_of_scikit_learn_with_weights_and_ties() -> None:
    generator = torch.Generator().manual_seed(1)
    signal, background = scores(200, 300, 0)
    a, b = (torch.rand(size, generator=generator) for size in (200, 300))
    label = torch.cat([torch.ones(200), torch.zeros(300)])
    for weights in ((None, None), (a, b)):
        found = areas(signal, background, *weights)
        given = None if weights[0] is None else torch.cat([a, b]).numpy()
        for k in range(2):
            row = torch.cat([signal[k], background[k]]).numpy()
            expected = roc_auc_score(label.numpy(), row, sample_weight=given)
            assert float(found.auc[k]) == pytest.approx(expected, abs=1e-12)


def test_errors_are_the_spread_over_samples_and_that_of_a_difference_is_smaller() -> None:
    found = [areas(*scores(150, 250, seed)) for seed in range(300)]
    auc = torch.stack([item.auc for item in found])
    differences = torch.tensor([item.difference(0, 1) for item in found])
    errors = torch.stack([item.error for item in found])
    torch.testing.assert_close(errors.mean(0), auc.std(0), rtol=0.12, atol=0)
    assert float(differences[:, 1].mean()) == pytest.approx(
        float(differences[:, 0].std()), rel=0.12
    )
    assert float(differences[:, 1].mean()) < 0.7 * float(errors.mean())


def test_an_event_of_weight_two_counts_as_two_for_the_area_and_is_one_for_the_error() -> None:
    signal, background = scores(60, 60, 3)
    weighted = areas(signal, background, torch.full((60,), 2.0))
    plain, twice = areas(signal, background), areas(signal.repeat(1, 2), background)
    torch.testing.assert_close(weighted.auc, twice.auc)
    torch.testing.assert_close(weighted.covariance, plain.covariance)
    assert float(twice.error[0]) < float(plain.error[0])


def test_a_score_that_is_no_number_has_no_area_and_the_other_one_keeps_its() -> None:
    signal, background = scores(20, 20, 4)
    plain = areas(signal, background)
    signal[1, 3] = math.nan
    found = areas(signal, background)
    assert math.isnan(float(found.auc[1]))
    assert float(found.auc[0]) == float(plain.auc[0])
    assert all(math.isnan(value) for value in found.difference(0, 1))
    with pytest.raises(UserError, match="at least two events of either kind"):
        areas(signal[:, :1], background)
