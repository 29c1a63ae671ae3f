"""Distances of jets and features against plain references; ``pytest -m bench`` on this file prints ratios.

The references are what the papers say, one step after the other: every pair of jets solved for COV and MMD,
drawn jets and sorted values for W1M and W1P, drawn events for FPD and KPD. Times are those of the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import TypeVar

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

import simulacra
from plain_frechet import plain_means
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.metrics.distances.emd import cov_mmd, coverage, emds, matching_distance
from simulacra.metrics.distances.frechet import fpd
from simulacra.metrics.distances.kernel import kpd
from simulacra.metrics.protocols.jets import w1m, w1p
from simulacra.physics.efp import efps

JETS, REPEATS, DRAWS = 20_000, 3, 50_000
T = TypeVar("T")
Array = np.ndarray


@pytest.fixture(scope="module")
def jets() -> tuple[Tensor, Tensor]:
    first, second = (toy_jets(jetnet(30, ["t"]), JETS, seed, 1).x for seed in (0, 1))
    return first, second


@pytest.fixture(scope="module")
def features(jets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    first, second = (efps(part) for part in jets)
    return first, second


def timed(function: Callable[[], T]) -> tuple[float, T]:
    start = process_time()
    found = function()
    return process_time() - start, found


def compared(
    capsys: pytest.CaptureFixture, name: str, ours: Callable[[], T], plain: Callable[[], T]
) -> tuple[float, T, T]:
    """Ratio of the processor times and both results; the plain way is run once."""
    ours()
    fast = [timed(ours) for _ in range(REPEATS)]
    slow, expected = timed(plain)
    own = median(time for time, _ in fast)
    ratio = slow / own
    with capsys.disabled():
        print(f"\n{name}: {1e3 * own:.0f} ms, plain {1e3 * slow:.0f} ms, ratio {ratio:.1f}")  # noqa: T201
    return ratio, fast[0][1], expected


def plain_cov_mmd(real: Tensor, fake: Tensor) -> list[float]:
    """Every pair of 100 and 100 jets is solved, ten times."""
    rng = np.random.default_rng(42)
    found = []
    for _ in range(10):
        a = real[torch.from_numpy(rng.choice(len(real), size=100))]
        table = emds(fake[torch.from_numpy(rng.choice(len(fake), size=100))], a)
        found.append((coverage(table), matching_distance(table)))
    return [float(value) for value in np.mean(found, axis=0)]


def plain_masses(jets: Array) -> Array:
    eta, phi, pt = jets.transpose(2, 0, 1)
    momenta = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    e, x, y, z = momenta.sum(2)
    return np.sqrt(np.maximum(e**2 - x**2 - y**2 - z**2, 0))


def drawn(pair: tuple[Array, Array]) -> list[tuple[Array, Array]]:
    """Five times 50,000 rows of each, with replacement."""
    rng = np.random.default_rng(42)
    first, second = pair
    return [
        (first[rng.choice(len(first), DRAWS)], second[rng.choice(len(second), DRAWS)])
        for _ in range(5)
    ]


def plain_w1m(pair: tuple[Array, Array]) -> float:
    masses = plain_masses(pair[0]), plain_masses(pair[1])
    return float(np.mean([wasserstein_distance(*part) for part in drawn(masses)]))


def plain_w1p(pair: tuple[Array, Array]) -> float:
    found = []
    for part in drawn(pair):
        real = [rows[(rows != 0).any(-1)] for rows in part]
        found.append([wasserstein_distance(*(rows[:, i] for rows in real)) for i in range(3)])
    return float(np.mean(found))


def plain_kpd(x: Array, y: Array) -> float:
    scale = np.abs(x).max(0)
    found = []
    for batch in range(10):
        rng = np.random.default_rng(42 + 1000 * batch)
        a, b = ((z / scale)[rng.choice(len(z), size=5000)] for z in (x, y))
        own = [(z @ z.T / z.shape[1] + 1) ** 4 for z in (a, b)]
        within = sum((k.sum() - np.trace(k)) / (5000 * 4999) for k in own)
        found.append(within - 2 * ((a @ b.T / a.shape[1] + 1) ** 4).mean())
    return float(np.median(found))


@pytest.mark.bench
def test_cov_and_mmd_take_a_fraction_of_solving_every_pair(
    capsys: pytest.CaptureFixture,
) -> None:
    """Of the embedded jets: those of a toy are so much alike that few pairs can be skipped."""
    known = simulacra.dataset("jetnet30")
    real, fake = (known.batch(4000, part).x[..., :3] for part in ("train", "test"))
    ratio, found, expected = compared(
        capsys,
        "COV and MMD",
        lambda: [figure.value for figure in cov_mmd(real, fake).values()],
        lambda: plain_cov_mmd(real, fake),
    )
    assert found == pytest.approx(expected, rel=1e-9)
    assert ratio > 8


@pytest.mark.bench
def test_w1_is_faster_than_drawn_jets(
    jets: tuple[Tensor, Tensor], capsys: pytest.CaptureFixture
) -> None:
    plain = (jets[0].double().numpy(), jets[1].double().numpy())
    for name, ours, reference, least in (
        ("W1M", lambda: w1m(*jets).value, plain_w1m, 2),
        ("W1P", lambda: w1p(*jets)["mean"].value, plain_w1p, 4),
    ):
        ratio, found, expected = compared(
            capsys, name, ours, lambda reference=reference: reference(plain)
        )
        assert found == pytest.approx(expected, rel=1e-6)
        assert ratio > least


@pytest.mark.bench
def test_fpd_and_kpd_are_faster_than_drawn_events(
    features: tuple[Tensor, Tensor], capsys: pytest.CaptureFixture
) -> None:
    plain = features[0].numpy(), features[1].numpy()
    ratio, found, expected = compared(
        capsys,
        "FPD with its error",
        lambda: fpd(*features).value,
        lambda: float(np.polyfit(*plain_means(*plain, 20_000, 50_000, 42), 1)[1]),
    )
    assert found == pytest.approx(expected, abs=1e-2 * abs(expected) + 1e-6)
    assert ratio > 2
    ratio, found, expected = compared(
        capsys, "KPD with its error", lambda: kpd(*features).value, lambda: plain_kpd(*plain)
    )
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-8)
    assert ratio > 3
