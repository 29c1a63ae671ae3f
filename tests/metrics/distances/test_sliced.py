"""Sliced distances: those of one feature, weights, and a null of equal size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Field, Spec
from simulacra.metrics import Evaluator
from simulacra.metrics.distances.kolmogorov import kolmogorov
from simulacra.metrics.distances.sliced import SlicedScore, directions, sliced
from simulacra.metrics.distances.wasserstein import wasserstein
from simulacra.physics.base import Axis, ObservableSet

FEATURES = 4
SPEC = Spec("toy", "table", (FEATURES,), "GeV", tuple(Field(f"f{i}") for i in range(FEATURES)))


class Columns(ObservableSet):
    """The features."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return {f"f{i}": batch.x[:, i] for i in range(FEATURES)}

    def axes(self) -> dict[str, Axis]:
        return {f"f{i}": Axis(f"f{i}") for i in range(FEATURES)}

    def features(self, batch: Batch) -> Tensor:
        return batch.x


def events(n: int, seed: int) -> Tensor:
    return torch.randn(n, FEATURES, generator=torch.Generator().manual_seed(seed)).double()


def test_along_one_feature_they_are_its_distances() -> None:
    first, second = events(200, 0)[:, :1].round(decimals=1), events(150, 1)[:, :1] + 0.2
    found = sliced(first, second.round(decimals=1), torch.ones(1, 1).double())
    pair = first, second.round(decimals=1)
    assert float(found[0]) == pytest.approx(float(wasserstein(pair[0][:, 0], pair[1][:, 0])))
    assert float(found[1]) == pytest.approx(float(kolmogorov(*pair)[0]))


def test_directions_are_of_length_one_and_turning_both_samples_changes_little() -> None:
    along = directions(FEATURES, 500, torch.Generator().manual_seed(0))
    torch.testing.assert_close(along.norm(dim=0), torch.ones(500).double())
    first, second = events(300, 0), events(300, 1) * 1.3
    turn = torch.linalg.qr(events(FEATURES, 2))[0]
    plain, turned = sliced(first, second, along), sliced(first @ turn, second @ turn, along)
    torch.testing.assert_close(plain, turned, rtol=0.05, atol=0)


def test_an_event_of_weight_two_is_two_events() -> None:
    first, second, along = events(120, 0), events(90, 1), directions(FEATURES, 20)
    weights = [(torch.arange(n) % 2 + 1).double() for n in (120, 90)]
    pair = [x.repeat_interleave(w.long(), 0) for x, w in zip((first, second), weights, strict=True)]
    found = sliced(first, second, along, (weights[0], weights[1]))
    torch.testing.assert_close(found, sliced(pair[0], pair[1], along))


def test_truth_lies_within_the_null_and_a_shift_far_above() -> None:

    def judge(seed: int) -> Evaluator:
        truth = Batch(events(400, 100 + seed), {}), Batch(events(1000, 1), {})
        scores = {"sliced": SlicedScore(slices=30, toys=40)}
        return Evaluator(truth[0], Columns(SPEC), truth=truth[1], scores=scores, replicas=2)

    good = [judge(seed)(Batch(events(200, seed), {}), "").metrics for seed in range(2, 14)]
    made = events(200, 99)
    made[:, 1] += 0.8
    bad = judge(0)(Batch(made, {}), "").metrics
    for name in ("sliced/w1", "sliced/ks"):
        pulls = [found[f"{name}/z"] for found in good]
        assert 0.4 < np.std(pulls) < 1.7
        assert abs(np.mean(pulls)) < 1
        assert bad[f"{name}/z"] > 4
        assert bad[f"{name}/p"] == pytest.approx(1 / 41)
        errors = [found[f"{name}/error"] for found in good]
        assert 0.4 < np.mean(errors) / np.std([found[name] for found in good]) < 2.5
