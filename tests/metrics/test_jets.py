from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from simulacra.core import Batch, UserError
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.metrics.jets import FEATURES, jet_scores, w1m, w1p
from simulacra.physics.jets import four_momentum

SPEC = jetnet(30, ["t"])


def jets(n: int, seed: int, scale: float = 1.0) -> Batch:
    batch = toy_jets(SPEC, n, seed, 1)
    return Batch(batch.x * torch.tensor([scale, scale, 1.0]), {}, batch.event, batch.mask)


def draws(n: int, m: int, samples: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [
        (generator.choice(n, size=samples), generator.choice(m, size=samples)) for _ in range(5)
    ]


def test_w1m_is_scipys_distance_of_the_drawn_masses() -> None:
    real, fake = jets(300, 1), jets(400, 2, 1.2)
    first, second = (four_momentum(*part.x.unbind(-1))[0].numpy() for part in (real, fake))
    expected = [wasserstein_distance(first[a], second[b]) for a, b in draws(300, 400, 1000, 7)]
    found = w1m(real, fake, samples=1000, seed=7)
    assert found.value == pytest.approx(np.mean(expected), rel=1e-9)
    assert found.error == pytest.approx(np.std(expected), rel=1e-9)


def test_w1p_is_scipys_distance_of_the_drawn_unpadded_particles() -> None:
    real, fake = jets(100, 1), jets(120, 2, 1.2)
    assert real.mask is not None
    assert fake.mask is not None
    expected = [
        [
            wasserstein_distance(
                real.x[a][real.mask[a]][:, i].numpy(), fake.x[b][fake.mask[b]][:, i].numpy()
            )
            for i in range(3)
        ]
        for a, b in ((torch.tensor(p), torch.tensor(q)) for p, q in draws(100, 120, 500, 3))
    ]
    found = w1p(real, fake, samples=500, seed=3)
    for i, name in enumerate(FEATURES):
        assert found[name].value == pytest.approx(np.mean(expected, axis=0)[i], rel=1e-6)
        assert found[name].error == pytest.approx(np.std(expected, axis=0)[i], rel=1e-5)
    assert found["mean"].value == pytest.approx(np.mean(expected), rel=1e-6)


def test_equal_jets_score_at_the_floor_and_wider_jets_far_above() -> None:
    truth = jets(1000, 3)
    same = jet_scores(jets(1000, 1), jets(1000, 2), truth, samples=5000)
    wider = jet_scores(jets(1000, 1), jets(1000, 2, 1.3), truth, samples=5000)
    assert same["w1m"] < 3 * same["w1m/floor"]
    assert wider["w1m"] > 10 * wider["w1m/floor"]
    assert wider["w1p"] > 5 * wider["w1p/floor"]
    assert wider["w1p/ptrel"] < 3 * wider["w1p/ptrel/floor"]


def test_the_floor_from_halves_agrees_with_that_from_independent_truth() -> None:
    pairs = [(jets(600, s), jets(600, 100 + s)) for s in range(6)]
    halves = np.mean([jet_scores(real, real[:600], samples=4000)["w1m/floor"] for real, _ in pairs])
    independent = np.mean(
        [jet_scores(real, real, truth, samples=4000)["w1m/floor"] for real, truth in pairs]
    )
    assert halves == pytest.approx(independent, rel=0.35)


def test_scores_come_with_errors_and_floors() -> None:
    scores = jet_scores(jets(50, 1), jets(50, 2), samples=200, batches=2)
    figures = {"w1m", "w1p", "w1p/etarel", "w1p/phirel", "w1p/ptrel"}
    assert set(scores) == {f"{name}{twin}" for name in figures for twin in ("", "/error", "/floor")}


def test_empty_samples_are_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="got 0 and 5"):
        w1m(jets(5, 0)[:0], jets(5, 0))
    real = jets(5, 0)
    assert real.mask is not None
    empty = Batch(torch.zeros_like(real.x), {}, real.event, torch.zeros_like(real.mask))
    with pytest.raises(UserError, match="empty jets"):
        w1p(real, empty)
