"""FPD and KPD against closed forms, plain estimators, and figures of the public library."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.optimize import curve_fit

from plain_frechet import plain_means
from simulacra.metrics.distances import frechet, kernel
from simulacra.metrics.distances.draw_moments import draw_moments, multiplied, picked
from simulacra.metrics.distances.frechet import FPD, KPD, fpd
from simulacra.metrics.distances.kernel import kpd
from simulacra.metrics.engine.score import NotRun

RNG = np.random.default_rng
JETNET_FPD = (0.003712870205272839, 9.190535119334189e-05)
JETNET_KPD = (0.0007952227769403297, 0.00016713606968476286)


def samples(n: int = 300, m: int = 250, features: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = RNG(0)
    mixing = rng.normal(size=(features, features))
    pair = rng.normal(size=(n, features)) @ mixing, rng.normal(size=(m, features)) @ mixing * 1.1
    return torch.from_numpy(pair[0]), torch.from_numpy(pair[1] + 0.1)


def covariance(seed: int, features: int = 4, rank: int = 9) -> np.ndarray:
    root = RNG(seed).normal(size=(features, rank))
    return root @ root.T


def test_distance_of_gaussians_with_common_axes() -> None:
    a, b = np.array([1.0, 4.0, 0.25]), np.array([2.25, 1.0, 0.0])
    mean = np.array([1.0, -2.0, 0.5])
    expected = np.square(mean).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    found = frechet.frechet(mean, np.diag(a), np.zeros(3), np.diag(b))
    assert found == pytest.approx(expected, rel=1e-12)


def test_distance_is_that_of_the_matrix_root() -> None:
    a, b, mean = covariance(0), covariance(1), np.arange(4.0)
    expected = mean @ mean + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet.frechet(mean, a, np.zeros(4), b) == pytest.approx(expected, rel=1e-10)


def test_dependent_features_have_a_distance() -> None:
    """The limit of nearly dependent ones."""
    a, b = covariance(0, rank=2), covariance(1, rank=2)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(a - 1e-12 * np.eye(4))
    near = [c + 1e-10 * np.eye(4) for c in (a, b)]
    found = frechet.frechet(np.zeros(4), a, np.zeros(4), b)
    assert found == pytest.approx(
        frechet.frechet(np.zeros(4), near[0], np.zeros(4), near[1]), abs=1e-3
    )
    assert frechet.frechet(np.zeros(4), a, np.zeros(4), a) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("normalise", "distance", "kernel"), [(True, 2, 15), (False, 8, 624)])
def test_constants_have_the_known_distances(
    normalise: bool, distance: float, kernel: float
) -> None:
    """(2 x 2 / 2 + 1)^4 - 1 = 624 and (2 / 2 + 1)^4 - 1 = 15."""
    twos, zeros = torch.full((40, 2), 2.0), torch.zeros(40, 2)
    found = fpd(twos, zeros, min_samples=20, max_samples=80, normalise=normalise)
    assert found.value == pytest.approx(distance, rel=1e-3)
    assert kpd(twos, zeros, batch_size=50, normalise=normalise).value == pytest.approx(kernel)


def plain_mmd(x: np.ndarray, y: np.ndarray) -> float:
    n, m = len(x), len(y)
    kernel = {
        (i, j): (a @ b.T / x.shape[1] + 1) ** 4
        for i, a in enumerate((x, y))
        for j, b in enumerate((x, y))
    }
    within = [
        (k.sum() - np.trace(k)) / (s * (s - 1)) for k, s in ((kernel[0, 0], n), (kernel[1, 1], m))
    ]
    return sum(within) - 2 * kernel[0, 1].mean()


def kept(rows: torch.Tensor, *gone: int) -> np.ndarray:
    return ~np.isin(np.arange(len(rows)) % 10, gone)


def jackknife(distance: Callable[..., float]) -> float:
    """Ten blocks: the variance of what is linear in the events and of what belongs to pairs of blocks."""
    one = np.array([distance(b) for b in range(10)])
    pairs = list(combinations(range(10), 2))
    common = [32 * distance(b, c) - 40.5 * (one[b] + one[c]) + 50 * distance() for b, c in pairs]
    columns = np.array([[b in pair for b in range(10)] for pair in pairs], dtype=float)
    residual = common - columns @ np.linalg.lstsq(columns, common, rcond=None)[0]
    delta = np.square(residual).sum() / 35
    linear = 0.9 * np.square(one - one.mean()).sum() - 1.5 * 34 / 810 * delta
    return float(np.sqrt(max(0, linear) + delta / 50))


def plain_distance(x: np.ndarray, y: np.ndarray, whole: torch.Tensor) -> float:
    x, y = (z / whole.abs().amax(0).numpy() for z in (x, y))
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t)).real)


def plain_square(x: np.ndarray, y: np.ndarray) -> float:
    """Squared MMD with every pair of events, copies of an event too: what draws with replacement have."""
    k = [((a @ b.T / x.shape[1] + 1) ** 4).mean() for a, b in ((x, x), (y, y), (x, y))]
    return float(k[0] + k[1] - 2 * k[2])


@pytest.mark.parametrize("seed", [42, 7])
def test_fpd_is_the_plain_estimator_with_the_same_draws(seed: int) -> None:
    x, y = samples()
    found = fpd(x, y, min_samples=100, max_samples=400, seed=seed)
    points = plain_means(x.numpy(), y.numpy(), 100, 400, seed)
    (value, _), spread = curve_fit(
        lambda z, a, b: a + b * z, *points, bounds=([0, 0], [np.inf, np.inf])
    )
    error = np.sqrt(spread[0, 0])
    assert found.value == pytest.approx(value, rel=1e-7)
    assert found.details["fit_error"] == pytest.approx(error, rel=1e-6)
    sampling = jackknife(
        lambda *b: plain_distance(x[kept(x, *b)].numpy(), y[kept(y, *b)].numpy(), x)
    )
    assert found.error == pytest.approx(np.hypot(error, sampling), rel=1e-6)


def test_kpd_is_the_plain_estimator_with_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "TILE", 64)
    x, y = samples()
    scale = x.abs().amax(0)
    expected = []
    for batch in range(4):
        rng = RNG(42 + 1000 * batch)
        a = (x / scale).numpy()[rng.choice(300, size=400)]
        expected.append(plain_mmd(a, (y / scale).numpy()[rng.choice(250, size=400)]))
    found = kpd(x, y, batches=4, batch_size=400)
    low, high = np.percentile(expected, (16.275, 83.725))
    rounding = 1e-4 * (high - low)
    assert found.value == pytest.approx(np.median(expected), abs=rounding)
    assert found.details["batch_error"] == pytest.approx((high - low) / 2, abs=rounding)
    sampling = jackknife(
        lambda *b: plain_square(*((z / scale)[kept(z, *b)].numpy() for z in (x, y)))
    )
    median = np.sqrt(np.pi / 2 / 4) * (high - low) / 2
    assert found.error == pytest.approx(np.hypot(median, sampling), rel=1e-4)


@pytest.mark.parametrize("events", [300, 3000])
def test_a_kernel_in_float32_errs_by_less_than_a_thousandth_of_the_error(
    monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    """Of few events all batches are one product, of many each is its own."""
    x, y = samples(events, events, features=5)
    weights = torch.from_numpy(RNG(2).random(events)), None
    narrow = kpd(x, y, batch_size=200, weights=weights)
    monkeypatch.setattr(kernel, "FAR", 0.0)
    wide = kpd(x, y, batch_size=200, weights=weights)
    assert narrow.value != wide.value
    assert abs(narrow.value - wide.value) < 1e-3 * (wide.error or 0)
    assert narrow.error == pytest.approx(wide.error, rel=1e-3)


def test_batches_together_are_batches_alone() -> None:
    pair = [z.numpy() for z in samples(40, 30)]
    rng = RNG(1)
    counts = [rng.poisson(1.5, size=(3, len(z))).astype(float) for z in pair]
    few = [c * (rng.random(c.shape) < 0.3) for c in counts]
    for drawn in (counts, few):
        together = kernel._distances((pair[0], pair[1]), drawn)
        for found, u, v in zip(together, *drawn, strict=True):
            a, b = (np.repeat(z, w.astype(int), 0) for z, w in zip(pair, (u, v), strict=True))
            assert found == pytest.approx(plain_mmd(a, b), abs=1e-5 * plain_square(a, b))


def test_moments_in_one_product_are_those_of_the_events_that_were_drawn() -> None:
    x = samples()[0].numpy()
    x -= x.mean(0)
    draws = [RNG(seed).choice(len(x), size=500) for seed in range(3)]
    counts = [np.bincount(rows, minlength=len(x)) for rows in draws]
    for moments in (multiplied, picked, draw_moments):
        means, covariances = moments(x, counts)
        for rows, mean, covariance in zip(draws, means, covariances, strict=True):
            np.testing.assert_allclose(mean, x[rows].mean(0), atol=1e-12)
            np.testing.assert_allclose(covariance, np.cov(x[rows], rowvar=False), atol=1e-12)


def test_figures_are_those_of_the_public_library() -> None:
    """jetnet 0.2.5 on numpy 1.26 gave these for the same two samples and its defaults."""
    rng = RNG(5)
    x = rng.normal(size=(400, 4)) ** 3
    y = rng.normal(size=(500, 4)) ** 3 * 1.05
    pair = torch.from_numpy(x), torch.from_numpy(y)
    found, kernel = fpd(*pair), kpd(*pair)
    assert (found.value, found.details["fit_error"]) == pytest.approx(JETNET_FPD, rel=1e-4)
    assert (kernel.value, kernel.details["batch_error"]) == pytest.approx(JETNET_KPD, rel=1e-4)


def test_truth_has_no_distance_and_a_shift_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4000, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    sizes = {"min_samples": 1000, "max_samples": 3000}
    truth, shifted = fpd(a, b, **sizes), fpd(a, b + 0.3, **sizes)
    scale = a.abs().amax(0)
    assert shifted.value == pytest.approx(float((0.3 / scale).square().sum()), rel=0.15)
    assert truth.value < 0.05 * shifted.value
    kernels = [kpd(a, b + shift, batch_size=1000) for shift in (0.0, 0.3)]
    assert abs(kernels[0].value) < 3 * (kernels[0].error or 0)
    assert kernels[1].value > 5 * (kernels[1].error or 0)


@pytest.mark.parametrize(
    "metric", [lambda: FPD(50, 100), lambda: KPD(batches=3, batch_size=60)], ids=["fpd", "kpd"]
)
def test_metric_in_parts_is_the_metric_of_all(metric) -> None:  # type: ignore[no-untyped-def]
    x, y = samples()
    whole, first, second = metric(), metric(), metric()
    whole.update(x, y)
    first.update(x[:120], y[:100])
    second.update(x[120:], y[100:])
    second.merge_state(first)
    assert torch.equal(second.compute(), whole.compute())
    assert (whole.compute() > 0).all()


@pytest.mark.parametrize("size", [1e2, 1e5, 1e9])
def test_fpd_grows_with_an_exploding_event(size: float) -> None:
    """The published search for the line stays at its start, 1 with an error of 0, from about 1e5 on."""
    x, y = samples(features=5)
    y[0, 2] = size
    found = fpd(x, y, min_samples=1000, max_samples=3000)
    exact = plain_distance(x.numpy(), y.numpy(), x)
    assert found.value == pytest.approx(exact, rel=0.1)
    assert found.details["fit_error"] > 0


@pytest.mark.parametrize("size", [1e40, 1e200, 1e300])
def test_what_overflows_is_left_out_with_a_note_and_no_warning(size: float) -> None:
    x, y = samples()
    y[0, 2] = size
    for found in (fpd(x, y, min_samples=50, max_samples=80), kpd(x, y, batch_size=50)):
        assert np.isfinite(found.value) or "overflows" in str(found.note)
    with pytest.raises(NotRun, match="1 events have features that are not finite"):
        kpd(x, torch.where(y == size, torch.inf, y))


def test_errors_are_the_spread_between_independent_pairs() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(20, 2, 400, 4, generator=generator, dtype=torch.float64)
    for metric in (
        lambda a, b: fpd(a, b, min_samples=400, max_samples=900),
        lambda a, b: kpd(a, b, batches=5, batch_size=400),
    ):
        found = [metric(*pair) for pair in rows]
        spread = np.std([figure.value for figure in found])
        error = np.sqrt(np.mean([figure.error**2 for figure in found]))
        assert 0.6 < error / spread < 1.8


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_error_is_right_for_the_truth_and_for_a_clear_difference(shift: float) -> None:
    """A jackknife without its correction says 1.3 times as much for the truth."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 2, 200, 8, generator=generator, dtype=torch.float64)
    rows[:, 1] += shift
    found = [kpd(*pair, batches=5, batch_size=400, normalise=False) for pair in rows]
    spread = np.std([figure.value for figure in found], ddof=1)
    error = np.sqrt(np.mean([(figure.error or 0) ** 2 for figure in found]))
    assert 0.8 < error / spread < 1.25
