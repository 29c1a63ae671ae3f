"""Copies of training events and copies within a sample are found; independent truth is not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.metrics.distances.memorisation import duplicates, memorisation, memorisation_score
from simulacra.metrics.engine.score import Figure, NotRun, judged

FEATURES = 6


def truth(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, FEATURES, generator=generator) * torch.arange(1, FEATURES + 1)


def excess(figure: Figure) -> float:
    """Above the floor, in standard deviations of the truth."""
    assert figure.floor is not None
    assert figure.null is not None
    return (figure.value - figure.floor) / figure.null


TRAINING, REFERENCE = truth(2500, 0), truth(1000, 1)


@pytest.mark.parametrize("seed", range(2, 8))
def test_independent_truth_is_not_accused(seed: int) -> None:
    found = memorisation(REFERENCE, truth(1000, seed), TRAINING)
    share = found["share"]
    assert abs(excess(share)) < 3
    assert abs(share.value - 0.05) < 4 * share.error
    assert abs(found["duplicates"].value - 0.01) < 4 * found["duplicates"].error


def test_excess_of_truth_is_a_standard_normal() -> None:
    found = [
        memorisation(truth(400, 3 * s), truth(300, 3 * s + 1), truth(400, 3 * s + 2))
        for s in range(50, 90)
    ]
    pulls = [excess(figures["share"]) for figures in found]
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.3
    twins = [excess(figures["duplicates"]) for figures in found]
    assert 0.5 < np.std(twins) < 1.5


@pytest.mark.parametrize("smearing", [0.0, 0.05])
def test_half_a_sample_of_training_events_is_found(smearing: float) -> None:
    copies = TRAINING[:500] + smearing * truth(500, 9)
    found = memorisation(REFERENCE, torch.cat([copies, truth(500, 10)]), TRAINING)
    assert excess(found["share"]) > 5
    assert found["share"].value == pytest.approx(0.525, abs=0.05)
    assert found["share"].floor == pytest.approx(0.05)


def test_half_a_sample_of_copies_of_100_events_is_found() -> None:
    copies = truth(100, 11).repeat(5, 1)
    found = duplicates(REFERENCE, torch.cat([copies, truth(500, 12)]))
    assert found.value == pytest.approx(0.505, abs=0.02)
    assert found.floor == pytest.approx(0.01)
    assert found.value > 0.01 + 5 * (found.error or 1)


def test_a_constant_feature_changes_nothing() -> None:
    def wider(x: Tensor) -> Tensor:
        return torch.cat([x, torch.full((len(x), 1), 3.0)], dim=1)

    samples = REFERENCE, truth(500, 13), TRAINING
    assert memorisation(*samples) == memorisation(*(wider(x) for x in samples))


def test_score_needs_the_training_events(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    sample = judged(module.batch(40, "train"), module.observables)
    wide = replace(sample, sample=sample.sample.take(torch.arange(400) % len(sample)))
    with pytest.raises(NotRun, match="not known"):
        memorisation_score(wide, wide, 0)
    found = memorisation_score(replace(wide, training=wide), wide, 0)
    assert set(found) == {f"memorisation/{key}" for key in ("share", "duplicates")}
    with pytest.raises(NotRun, match="200 true, generated and training"):
        memorisation_score(replace(sample, training=sample), sample, 0)
