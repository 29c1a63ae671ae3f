"""The judge is judged: it must find what is wrong, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from simulacra import data
from simulacra.core import Batch, UserError
from simulacra.metrics.classifiers.boosted import boosted, hanley_mcneil
from simulacra.physics.base import ObservableSet
from support import composed

EVENTS = 3000


@pytest.fixture(scope="module")
def photons() -> tuple[Batch, Batch, ObservableSet]:
    """True showers, independent true showers, and their observables: the embedded sample of ds1_photons."""
    module = data.build(composed("data", "data=ds1_photons"))
    return module.batch(EVENTS, "test"), module.batch(EVENTS, "train"), module.observables


def score(reference: Batch, generated: Batch, judged: ObservableSet) -> tuple[float, float]:
    found = boosted(judged.features(reference), judged.features(generated))
    return found.auc, found.error


def voxels_shuffled(batch: Batch) -> Batch:
    """Each voxel from another shower of the same energy: all marginals stay, all correlations go."""
    generator = torch.Generator().manual_seed(0)
    x, energy = batch.x.clone(), batch.cond["incident_energy"][:, 0]
    for value in energy.unique():
        same = (energy == value).nonzero()[:, 0]
        order = torch.rand(len(same), x.shape[1], generator=generator).argsort(0)
        x[same] = batch.x[same].gather(0, order)
    return Batch(x, batch.cond)


def test_truth_is_not_told_from_truth(photons) -> None:  # type: ignore[no-untyped-def]
    reference, truth, judged = photons
    auc, error = score(reference, truth, judged)
    assert abs(auc - 0.5) < 3 * error


def test_shuffled_voxels_are_found(photons) -> None:  # type: ignore[no-untyped-def]
    reference, truth, judged = photons
    assert score(reference, voxels_shuffled(truth), judged)[0] > 0.85


def test_a_wrong_energy_scale_is_found(photons) -> None:  # type: ignore[no-untyped-def]
    reference, truth, judged = photons
    assert score(reference, Batch(truth.x * 1.05, truth.cond), judged)[0] > 0.70


def test_the_same_conditions_do_not_give_generated_events_away(photons) -> None:  # type: ignore[no-untyped-def]
    """An event and its counterpart must share a fold, or the score falls below 0.5."""
    generator = torch.Generator().manual_seed(0)
    condition = torch.rand(2000, 1, generator=generator)
    pair = [torch.cat([condition, torch.randn(2000, 3, generator=generator)], 1) for _ in range(2)]
    found = boosted(*pair)
    assert abs(found.auc - 0.5) < 3 * found.error


def test_the_score_is_a_function_of_data_and_seed() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(300, 4, generator=generator), torch.randn(400, 4, generator=generator) + 0.3
    assert boosted(a, b, seed=1) == boosted(a, b, seed=1)
    assert boosted(a, b, seed=1) != boosted(a, b, seed=2)


def test_weights_can_undo_a_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(1500, 1, generator=generator), torch.rand(1500, 1, generator=generator).sqrt()
    assert boosted(a, b).auc > 0.6
    found = boosted(a, b, generated_weight=1 / (2 * b[:, 0]))
    assert abs(found.auc - 0.5) < 4 * found.error


def test_too_few_events_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        UserError, match="at least 50 events of each kind, got 10 true and 60 generated"
    ):
        boosted(torch.randn(10, 2), torch.randn(60, 2))


def test_error_of_an_area_is_its_spread_over_repetitions() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 200])
    for shift in (0.0, 1.0):
        areas = [roc_auc_score(labels, rng.normal(size=500) + shift * labels) for _ in range(300)]
        assert hanley_mcneil(float(np.mean(areas)), 200, 300) == pytest.approx(
            np.std(areas), rel=0.15
        )


def test_error_of_the_judge_is_its_spread_over_pairs_of_true_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    pulls = []
    for seed in range(16):
        pair = (torch.randn(250, 4, generator=generator) for _ in range(2))
        found = boosted(*pair, seed=seed, iterations=15)
        pulls.append((found.auc - 0.5) / found.error)
    assert 0.6 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.8
