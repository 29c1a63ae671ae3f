from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from simulacra.core import Batch
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.metrics.distances.frechet import feature_distances
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.metrics.protocols.jets import (
    FEATURES,
    POLYNOMIALS,
    W1EFP,
    W1M,
    W1P,
    Draws,
    clouds,
    w1_score,
    w1efp,
    w1m,
    w1p,
)
from simulacra.metrics.protocols.jets_features import kl_edges, kl_histogram, kl_score, polynomials
from simulacra.physics.efp import N4_D4, efps
from simulacra.physics.jets import JetObservables, four_momentum

SPEC = jetnet(30, ["t"])


def batch(n: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Batch:
    toy = toy_jets(SPEC, n, seed, 1)
    assert toy.mask is not None
    moved = toy.x * torch.tensor([scale, scale, 1.0]) + torch.tensor([shift, 0.0, 0.0])
    return Batch(moved * toy.mask[..., None], {}, toy.event, toy.mask)


def jets(n: int, seed: int, scale: float = 1.0) -> Tensor:
    return batch(n, seed, scale).x


def seen(events: Batch) -> Judged:
    return judged(events, JetObservables(SPEC))


def draws(n: int, m: int, samples: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [
        (generator.choice(n, size=samples), generator.choice(m, size=samples)) for _ in range(5)
    ]


def test_w1m_is_scipys_distance_of_the_drawn_masses() -> None:
    real, fake = jets(300, 1), jets(400, 2, 1.2)
    first, second = (four_momentum(*part.unbind(-1))[0].numpy() for part in (real, fake))
    expected = [wasserstein_distance(first[a], second[b]) for a, b in draws(300, 400, 1000, 7)]
    found = w1m(real, fake, Draws(1000, seed=7))
    assert found.value == pytest.approx(np.mean(expected), rel=1e-9)
    assert found.error == pytest.approx(np.std(expected), rel=1e-9)
    assert (found.power, found.draws) == (0.5, 1000)


def test_w1p_is_scipys_distance_of_the_drawn_unpadded_particles() -> None:
    real, fake = batch(100, 1), batch(120, 2, 1.2)
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
    found = w1p(real.x, fake.x, Draws(500, seed=3))
    for i, name in enumerate(FEATURES):
        assert found[name].value == pytest.approx(np.mean(expected, axis=0)[i], rel=1e-6)
        assert found[name].error == pytest.approx(np.std(expected, axis=0)[i], rel=1e-5)
    assert found["mean"].value == pytest.approx(np.mean(expected), rel=1e-6)
    assert found["mean"].error == pytest.approx(np.std(np.mean(expected, axis=1)), rel=1e-5)


def test_w1efp_is_scipys_distance_of_the_drawn_polynomials() -> None:
    real, fake = jets(100, 1), jets(120, 2, 1.2)
    first, second = (efps(part, N4_D4).numpy() for part in (real, fake))
    expected = [
        [wasserstein_distance(first[a, i], second[b, i]) for i in range(5)]
        for a, b in draws(100, 120, 500, 3)
    ]
    found = w1efp(real, fake, Draws(500, seed=3))
    values = [found[name].value for name in POLYNOMIALS]
    assert values == pytest.approx(np.mean(expected, axis=0).tolist(), rel=1e-9)
    assert found["mean"].value == pytest.approx(np.mean(expected), rel=1e-9)


@pytest.mark.parametrize(("metric", "key"), [(W1M, "w1m"), (W1P, "w1p"), (W1EFP, "w1efp")])
def test_metrics_over_parts_are_the_functions_of_all_jets(metric: type, key: str) -> None:
    real, fake = jets(90, 1), jets(110, 2, 1.2)
    whole, parts = metric(samples=300, seed=5), metric(samples=300, seed=5)
    whole.update(real, fake)
    parts.update(real[:40], fake[:60])
    parts.update(real[40:], fake[60:])
    expected = w1_score(seen(batch(90, 1)), seen(batch(110, 2, 1.2)), 5, samples=300)
    for found in (whole.compute(), parts.compute()):
        assert {name for name in found if not name.endswith("/error")} == {
            name for name in expected if name.split("/")[0] == key
        }
        assert float(found[key]) == pytest.approx(expected[key].value, rel=1e-12)
        assert found[f"{key}/error"].item() == pytest.approx(
            expected[key].details["draw_error"], rel=1e-9
        )


def test_errors_of_jets_come_from_random_halves_of_both_samples() -> None:
    real, fake = batch(91, 1), batch(120, 2, 1.2)
    first, second = (four_momentum(*part.x.unbind(-1))[0].numpy() for part in (real, fake))
    generator = torch.Generator().manual_seed(5)
    squares = []
    for _ in range(30):
        a, b = (torch.randperm(n, generator=generator).numpy() < n // 2 for n in (91, 120))
        halves = [wasserstein_distance(first[p], second[q]) for p, q in ((a, b), (~a, ~b))]
        squares.append((halves[0] - halves[1]) ** 2 / 4)
    expected = math.sqrt(np.mean(squares) * (1 + 2 / (3 * 700) / (1 / 91 + 1 / 120)))
    found = w1_score(seen(real), seen(fake), 5, samples=700, batches=3)
    assert found["w1m"].error == pytest.approx(expected, rel=1e-9)
    assert all(figure.details["draw_error"] > 0 for figure in found.values())


def test_padding_order_of_particles_and_reading_in_parts_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, fake = jets(60, 1), jets(60, 2, 1.1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    longer = torch.cat([torch.zeros(60, 7, 3), fake[:, order]], 1)
    how = Draws(200)
    assert w1m(real, longer, how).value == pytest.approx(w1m(real, fake, how).value, rel=1e-9)
    for function in (w1p, w1efp):
        first, second = function(real, fake, how), function(real, longer, how)
        assert {k: v.value for k, v in second.items()} == pytest.approx(
            {k: v.value for k, v in first.items()}, rel=1e-9
        )
    monkeypatch.setattr("simulacra.metrics.protocols.jets.CHUNK", 13)
    assert torch.equal(clouds(batch(60, 1)), real)


def test_equal_jets_score_at_the_floor_and_wider_jets_far_above() -> None:
    real, truth = seen(batch(600, 1)), seen(batch(600, 3))
    floor = w1_score(real, truth, 0, samples=3000)
    same = w1_score(real, seen(batch(600, 2)), 0, samples=3000)
    wider = w1_score(real, seen(batch(600, 2, 1.3)), 0, samples=3000)
    for key in ("w1m", "w1p", "w1efp"):
        assert same[key].value < 3 * floor[key].value
        assert wider[key].value > 5 * floor[key].value
    assert wider["w1p/ptrel"].value < 3 * floor["w1p/ptrel"].value


def test_jets_moved_by_a_fiftieth_in_eta_are_seen_by_w1p_and_kl_of_eta() -> None:
    real, same, moved = batch(2000, 1), batch(2000, 2), batch(2000, 2, shift=0.02)
    floor, found = (w1p(real.x, other.x, Draws(10_000))["etarel"] for other in (same, moved))
    assert found.error is not None
    assert found.value - floor.value > 5 * found.error
    floor, found = (kl_score(seen(real), seen(x), 0)["kl/etarel"] for x in (same, moved))
    assert found.error is not None
    assert found.value - floor.value > 5 * found.error
    floor, found = (w1m(real.x, other.x, Draws(10_000)) for other in (same, moved))
    assert found.value == pytest.approx(floor.value, rel=1e-3)


def test_kl_of_a_hand_made_histogram_counts_what_lies_outside() -> None:
    reference = torch.tensor([-1.0, 0.5, 0.6, 1.5, 9.0, 9.5, 9.7, 9.9])
    generated = torch.tensor([0.1, 0.2, 1.1, 7.0])
    p, q = np.array([1, 2, 1, 4]) / 8, np.array([1e-8, 0.5, 0.25, 0.25])
    expected = float((p * np.log(p / q)).sum())
    assert kl_histogram(reference, generated, torch.tensor([0.0, 1.0, 2.0])) == pytest.approx(
        expected
    )


def test_kl_edges_are_quantiles_and_its_floor_is_the_counting_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5000, generator=generator, dtype=torch.float64)
    expected = np.quantile(values.numpy(), np.linspace(0.001, 0.999, 30))
    np.testing.assert_allclose(kl_edges(values).numpy(), expected, rtol=1e-12)
    assert len(kl_edges(torch.ones(10))) == 1
    floors = []
    for _ in range(30):
        pair = torch.randn(2, 4000, generator=generator, dtype=torch.float64)
        floors.append(kl_histogram(pair[0], pair[1], kl_edges(values)))
    assert np.mean(floors) == pytest.approx(30 / 2 * (1 / 4000 + 1 / 4000), rel=0.25)


def test_kl_scores_come_for_particles_and_mass() -> None:
    found = kl_score(seen(batch(200, 1)), seen(batch(200, 2)), 0)
    assert set(found) == {"kl/etarel", "kl/phirel", "kl/ptrel", "kl/mass"}
    assert all(figure.error and figure.value > 0 for figure in found.values())


def test_fpd_and_kpd_see_wider_jets() -> None:
    sizes = {"features": polynomials, "min_samples": 200, "max_samples": 500, "batch_size": 300}
    real = seen(batch(500, 1))
    same = feature_distances(real, seen(batch(500, 2)), 0, **sizes)
    wider = feature_distances(real, seen(batch(500, 2, 1.3)), 0, **sizes)
    assert set(same) == {"fpd", "kpd"}
    for key in same:
        assert wider[key].error is not None
        assert wider[key].value - same[key].value > 5 * wider[key].error, key


def test_empty_samples_and_other_events_are_refused_in_one_sentence() -> None:
    with pytest.raises(NotRun, match="got 0 and 5"):
        w1m(jets(5, 0)[:0], jets(5, 0))
    with pytest.raises(NotRun, match="empty jets"):
        w1p(jets(5, 0), torch.zeros(5, 30, 3))
    with pytest.raises(NotRun, match="need clouds"):
        clouds(Batch(torch.zeros(3, 25, 25)))
