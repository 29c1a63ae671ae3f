"""Published figures of ILD showers against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from simulacra.core import Batch
from simulacra.formats.ild import ild_10x10
from simulacra.metrics.engine.response import peak
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.metrics.engine.splits import (
    SplitWasserstein,
    observables,
    profile_wasserstein,
    split_score,
    split_wasserstein,
)
from simulacra.metrics.protocols.ild import (
    SHAPES,
    CorrelationDifference,
    correlation_difference,
    correlation_score,
    correlations,
    energy_score,
    shapes,
)
from simulacra.physics.ild import ILDObservables

ENERGIES = [20.0, 30.0]


def showers(n: int, seed: int, scale: float = 1.0, spread: float = 1.0) -> Batch:
    """Showers of 17 to 33 GeV whose energy is proportional to the incident one; one is empty."""
    generator = torch.Generator().manual_seed(seed)
    energy = 17 + 16 * torch.rand(n, 1, generator=generator)
    index = torch.meshgrid(
        torch.arange(30.0), torch.arange(10.0), torch.arange(10.0), indexing="ij"
    )
    shape = torch.exp(
        -((index[0] - 12) ** 2) / 40 - (index[1] - 4) ** 2 / 3 - (index[2] - 5) ** 2 / 3
    )
    noise = -torch.log(torch.rand(n, 30, 10, 10, generator=generator).clamp(min=1e-6))
    factor = scale * (1 + 0.05 * spread * torch.randn(n, 1, 1, 1, generator=generator))
    x = shape * noise * energy[:, :, None, None] * factor * 0.1
    x[x < 0.02] = 0
    x[n // 2] = 0
    return Batch(x, {"incident_energy": energy})


@pytest.fixture(scope="module")
def ild() -> ILDObservables:
    return ILDObservables(ild_10x10(), radial_bins=8, energies=ENERGIES)


@pytest.fixture(scope="module")
def pair(ild: ILDObservables) -> tuple[Judged, Judged]:
    return judged(showers(400, 0), ild), judged(showers(360, 1, 1.1, 1.5), ild)


def twelve(batch: Batch) -> np.ndarray:
    """The correlated quantities by loops over showers."""
    rows = []
    for x, energy in zip(batch.x.double().numpy(), batch.cond["incident_energy"], strict=True):
        x = np.where(x < np.float32(0.1), 0, x)
        total = x.sum()
        row = []
        with np.errstate(invalid="ignore"):
            sums = [x.sum((0, 2)), x.sum((0, 1)), x.sum((1, 2))]
            means = [(s * np.arange(len(s))).sum() / total for s in sums]
            row += means
            row += [
                (s * (np.arange(len(s)) - m) ** 2).sum() / total
                for s, m in zip(sums, means, strict=True)
            ]
            row += [total, (x > 0).sum()]
            row += [x[10 * k : 10 * k + 10].sum() / total for k in range(3)]
        rows.append([*row, 1000 * float(energy)])
    return np.array(rows)


def pairwise_correlations(rows: np.ndarray) -> np.ndarray:
    size = rows.shape[1]
    found = np.ones((size, size))
    for i in range(size):
        for j in range(size):
            known = np.isfinite(rows[:, i]) & np.isfinite(rows[:, j])
            found[i, j] = np.corrcoef(rows[known, i], rows[known, j])[0, 1]
    return found


def test_correlations_of_twelve_quantities_are_those_of_a_loop(pair: tuple[Judged, Judged]) -> None:
    matrices = []
    for item, batch in zip(pair, (showers(400, 0), showers(360, 1, 1.1, 1.5)), strict=True):
        rows = twelve(batch)
        np.testing.assert_allclose(shapes(item.sample), rows, rtol=1e-9, atol=1e-12)
        assert len(SHAPES) + 1 == rows.shape[1] == 12
        matrices.append(pairwise_correlations(rows))
        np.testing.assert_allclose(correlations(torch.from_numpy(rows)), matrices[-1], atol=1e-10)
    found = correlation_score(*pair, 0)["correlation_ild"]
    lower = np.tril_indices(12, -1)
    assert len(lower[0]) == 66
    assert found.value == pytest.approx(np.abs(matrices[0] - matrices[1])[lower].mean(), rel=1e-8)
    assert 0 < (found.error or 0) < found.value


def test_weights_of_correlations_repeat_events_and_constants_correlate_with_nothing() -> None:
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[3, 1] = rows[9, 2] = math.nan
    counts = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        correlations(rows, counts.double()), correlations(rows.repeat_interleave(counts, dim=0))
    )
    rows[:, 3] = 1e6 / 3
    assert correlations(rows)[3].tolist() == [0, 0, 0, 0]


def fit90(values: np.ndarray) -> tuple[float, float, float, float]:
    """As the public code has it."""
    values = np.sort(values)
    left = int(len(values) * (1 - 0.9))
    start = np.argmin(values[-left:] - values[:left])
    kept = values[start : start + len(values) - left]
    n = len(values) - round(len(values) * 0.1)
    return kept.mean(), kept.std(), kept.std() / np.sqrt(n), kept.std() / np.sqrt(2 * n)


@pytest.mark.parametrize("n", [30, 57, 100, 1000])
def test_mu90_and_sigma90_are_the_published_ones(n: int) -> None:
    values = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64) + 9
    found = peak(values)
    assert (found.mean, found.width, found.mean_error, found.width_error) == pytest.approx(
        fit90(values.numpy()), rel=1e-12
    )
    whole = peak(values, 1.0)
    assert whole.mean == pytest.approx(float(values.mean()))
    assert whole.width == pytest.approx(float(values.std(unbiased=False)))


def test_sigma90_of_a_gaussian_is_known() -> None:
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # variance inside the central 90 %: 1 - 2 z phi(z) / 0.9 with z = 1.6449
    assert peak(values).width == pytest.approx(math.sqrt(1 - 2 * 1.6449 * 0.10314 / 0.9), rel=0.01)


def test_linearity_and_histograms_at_the_energies_that_there_are(
    pair: tuple[Judged, Judged],
) -> None:
    found = energy_score(*pair, 0)
    assert set(found) == {
        *(f"{name}/{energy}GeV" for name in ("mu90", "sigma90") for energy in (20, 30)),
        *(f"separation/{name}/20GeV" for name in ("visible", "hits")),
    }
    rows = [twelve(batch) for batch in (showers(400, 0), showers(360, 1, 1.1, 1.5))]
    chosen = [r[np.abs(r[:, -1] - 30_000) < 2000, 6] for r in rows]
    (mu, sigma, mu_error, _), (mu_q, sigma_q, mu_q_error, _) = (fit90(c) for c in chosen)
    assert found["mu90/30GeV"].value == pytest.approx(abs(mu_q / mu - 1), rel=1e-9)
    assert found["sigma90/30GeV"].value == pytest.approx(abs(sigma_q / sigma - 1), rel=1e-9)
    assert found["mu90/30GeV"].error == pytest.approx(
        math.hypot(mu_q_error / mu, mu_error * mu_q / mu**2)
    )
    edges = np.linspace(150, 1900, 101)
    counts = [np.histogram(r[np.abs(r[:, -1] - 20_000) < 2000, 6], edges)[0] for r in rows]
    p, q = (c / c.sum() for c in counts)
    expected = 0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum()
    assert found["separation/visible/20GeV"].value == pytest.approx(expected, rel=1e-9)
    with pytest.raises(NotRun, match="no published energy"):
        energy_score(*pair, 0, energies=[90], histograms=[80])


def test_the_response_is_taken_around_the_same_energies(ild: ILDObservables) -> None:
    bins = ild.response_bins()
    assert bins is not None
    assert [item.name for item in bins] == ["20GeV", "30GeV"]
    assert bins[0].low > 18_000
    assert bins[0].high == 22_000
    assert ILDObservables(ild_10x10()).response_bins() is None


def test_one_split_is_the_distance_of_scipy_in_standard_deviations() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(80, generator=generator), torch.rand(80, generator=generator) * 2
    a[3] = math.nan
    found = split_wasserstein(a, b[:79], 1, generator)
    known = a[a.isfinite()].double().numpy()
    expected = wasserstein_distance(known, b[:79].double().numpy()) / known.std(ddof=1)
    assert float(found) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(NotRun, match="at least 160"):
        split_wasserstein(a, b, 80)


def test_splits_are_equal_parts_of_the_shorter_sample() -> None:
    a, b = torch.arange(105.0), torch.arange(260.0)
    found = split_wasserstein(a, b, 10, torch.Generator().manual_seed(3))
    again = split_wasserstein(a, b, 10, torch.Generator().manual_seed(3))
    assert torch.equal(found, again)
    generator = torch.Generator().manual_seed(3)
    parts = []
    for values in (a, b):
        order = torch.randperm(len(values), generator=generator)[:105]
        parts.append(((values[order] - a.mean()) / a.std()).split(11))
    expected = [wasserstein_distance(p, q) for p, q in zip(*parts, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_profiles_weight_positions_of_hits_by_their_energy(pair: tuple[Judged, Judged]) -> None:
    """With one split nothing is left to chance: scipy's weighted distance of all hits."""
    batches = showers(400, 0), showers(400, 0)
    batches[1].x.mul_(torch.linspace(0.5, 2, 30)[:, None, None])
    batches[1].x[batches[0].x <= 0.1] = 0
    batches[1].x[batches[0].x > 0.1] += 0.1  # the same hits with other energies
    hits = [int((batch.x > 0.1).sum()) for batch in batches]
    found = profile_wasserstein(*batches, 0.1, (hits[0], hits[1]), splits=1)
    places = [(batch.x > 0.1).nonzero() for batch in batches]
    weights = [
        batch.x[tuple(at.T)].double().numpy() for batch, at in zip(batches, places, strict=True)
    ]
    for axis, name in enumerate("zxy", start=1):
        positions = [at[:, axis].double().numpy() for at in places]
        expected = wasserstein_distance(*positions, *weights) / positions[0].std(ddof=1)
        assert float(found[name]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_split_figures_do_not_depend_on_how_the_file_is_read(
    pair: tuple[Judged, Judged], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = split_score(*pair, 5, cut=0.1)
    monkeypatch.setattr("simulacra.metrics.engine.splits.CHUNK", 37)
    parts = split_score(*pair, 5, cut=0.1)
    assert {key: figure.value for key, figure in whole.items()} == pytest.approx(
        {key: figure.value for key, figure in parts.items()}, rel=1e-12
    )
    assert len(whole) == 13
    assert whole["w1_split"].value == pytest.approx(
        np.mean([figure.value for key, figure in whole.items() if key != "w1_split"])
    )
    draws = split_wasserstein(
        pair[0].sample.columns["e_tot_over_e_inc"].values,
        pair[1].sample.columns["e_tot_over_e_inc"].values,
        10,
        torch.Generator().manual_seed(5),
    )
    assert whole["w1_split/energy_ratio"].value == pytest.approx(float(draws.mean()))
    assert whole["w1_split/energy_ratio"].error == pytest.approx(float(draws.std()))


def test_observables_of_the_splits_are_those_of_a_loop(pair: tuple[Judged, Judged]) -> None:
    found = observables(pair[0].sample, 0.1)
    x = showers(400, 0).x.double().numpy()
    spectrum = x[x >= np.float32(0.1)]
    np.testing.assert_allclose(found["hit_energy"][0], spectrum)
    x = np.where(x < np.float32(0.1), 0, x)[7]
    energy = x.sum((1, 2)) / x.sum()
    mean = (energy * np.arange(30)).sum()
    assert float(found["mean_z"][0][7]) == pytest.approx(mean)
    deviation = math.sqrt((energy * (np.arange(30) - mean) ** 2).sum())
    assert float(found["std_z"][0][7]) == pytest.approx(deviation)


def test_metrics_over_batches_are_the_functions_of_all_events(pair: tuple[Judged, Judged]) -> None:
    rows = [shapes(item.sample) for item in pair]
    whole, halves = CorrelationDifference(), [CorrelationDifference() for _ in range(2)]
    splits, split_halves = SplitWasserstein(seed=2), [SplitWasserstein(seed=2) for _ in range(2)]
    for start, (metric, split) in enumerate(zip(halves, split_halves, strict=True)):
        part = [r[start * len(r) // 2 : (start + 1) * len(r) // 2] for r in rows]
        for item in (whole, metric):
            item.update(*part)
        for item in (splits, split):
            item.update(part[0][:, 6], part[1][:, 6])
    assert float(whole.compute()) == pytest.approx(correlation_difference(*rows))
    for metrics, expected in ((halves, whole), (split_halves, splits)):
        metrics[0].merge_state(metrics[1])
        torch.testing.assert_close(metrics[0].compute(), expected.compute())
