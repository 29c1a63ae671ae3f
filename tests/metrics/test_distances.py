"""W1 and separation power against independent implementations, on one process and on two."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import distributed, multiprocessing

from simulacra.metrics.distances.prdc import PRDC, prdc
from simulacra.metrics.distances.separation import SeparationPower, separation_of_counts
from simulacra.metrics.distances.wasserstein import Wasserstein, wasserstein
from simulacra.metrics.engine.bins import histogram, resolve
from simulacra.physics.base import Axis


def normal(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return (
        torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    )


samples = st.lists(st.floats(-1e3, 1e3).map(lambda v: round(v, 3)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(samples, samples, st.integers(0, 1000))
def test_w1_is_that_of_scipy_with_weights_and_ties(
    a: list[float], b: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(0.1, 2, len(a)), rng.uniform(0.1, 2, len(b))
    found = wasserstein(
        *(torch.tensor(x, dtype=torch.float64) for x in (a, b)),
        torch.from_numpy(u),
        torch.from_numpy(v),
    )
    assert float(found) == pytest.approx(wasserstein_distance(a, b, u, v), rel=1e-9, abs=1e-9)


def test_w1_of_a_shift_is_the_shift() -> None:
    values = normal(500, 0)
    assert float(wasserstein(values, values + 0.25)) == pytest.approx(0.25)


def test_several_sets_of_weights_give_several_distances() -> None:
    a, b = normal(200, 0), normal(300, 1, 0.3)
    weights = torch.rand(4, 200, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = wasserstein(a, b, weights)
    assert found.shape == (4,)
    for row, value in zip(weights, found, strict=True):
        assert float(value) == pytest.approx(
            wasserstein_distance(a.numpy(), b.numpy(), row.numpy())
        )


def test_w1_of_an_empty_sample_is_undefined() -> None:
    assert math.isnan(float(wasserstein(torch.zeros(0), normal(3, 0))))


def test_separation_is_0_for_equal_and_1_for_disjoint_histograms() -> None:
    p = torch.tensor([3.0, 1.0, 0.0, 0.0])
    assert float(separation_of_counts(p, 7 * p)) == 0
    assert float(separation_of_counts(p, p.flip(0))) == pytest.approx(1)


def test_separation_is_that_of_the_definition() -> None:
    a, b = normal(2000, 0), normal(1500, 1, 0.4)
    edges = np.linspace(-1, 2, 21)
    p, q = (np.histogram(x.numpy(), edges, density=True)[0] * np.diff(edges) for x in (a, b))
    expected = 0.5 * sum((x - y) ** 2 / (x + y + 1e-16) for x, y in zip(p, q, strict=True))
    grid = torch.from_numpy(edges)
    assert float(
        separation_of_counts(histogram(a, grid)[1:-1], histogram(b, grid)[1:-1])
    ) == pytest.approx(expected)


def test_counts_are_those_of_numpy_with_under_and_overflow_apart() -> None:
    values = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 3.5], dtype=torch.float64)
    edges = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    counts = histogram(values, edges)
    assert counts[1:-1].tolist() == np.histogram(values.numpy(), edges.numpy())[0].tolist()
    assert (counts[0], counts[-1]) == (1, 1)


def test_floor_of_the_separation_is_the_counting_formula() -> None:
    edges = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)
    values = [
        float(
            separation_of_counts(
                *(histogram(normal(n, seed + n), edges)[1:-1] for n in (3000, 2000))
            )
        )
        for seed in range(30)
    ]
    expected = 39 / 4 * (1 / 3000 + 1 / 2000)
    assert np.mean(values) == pytest.approx(expected, rel=0.15)


def test_open_ends_of_an_axis_come_from_the_truth() -> None:
    truth = normal(5000, 0) * 10
    edges = resolve(Axis("x", bins=20), truth)
    assert len(edges) == 21
    inside = (truth > edges[0]) & (truth < edges[-1])
    assert 0.995 < float(inside.double().mean()) < 1
    assert len(resolve(Axis("x", bins=50), truth[:64])) == 11, "few events, few bins"
    assert len(resolve(Axis("x", bins=50, low=-1, high=1), truth[:64])) == 51, (
        "a public binning stays"
    )
    log = resolve(Axis("x", bins=10, low=0.5, log=True), truth.abs() + 1)
    assert float(log[0]) == pytest.approx(0.5)
    assert float(log[-1]) == pytest.approx(float((truth.abs() + 1).max()))
    assert np.allclose(np.diff(np.log(log.numpy())), np.diff(np.log(log.numpy()))[0])


def test_whole_numbers_get_bins_around_them() -> None:
    edges = resolve(Axis("n"), torch.tensor([3.0, 4.0, 4.0, 7.0]))
    assert edges.tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    wide = resolve(Axis("n", bins=50), torch.arange(1000.0))
    assert len(wide) <= 51
    assert len(set(wide.diff().tolist())) == 1
    assert float(wide.diff()[0]).is_integer()


def test_a_constant_observable_can_be_binned() -> None:
    edges = resolve(Axis("x", bins=4), torch.full((10,), 0.3))
    assert float(histogram(torch.full((10,), 0.3), edges)[1:-1].sum()) == 10


def test_metric_over_batches_is_the_function_of_all_events_and_counts_what_it_drops() -> None:
    a, b = normal(400, 0), normal(300, 1, 0.3)
    b[7], b[9] = math.nan, math.inf
    edges = torch.linspace(-1, 1, 11, dtype=torch.float64)
    power, w1 = SeparationPower(edges), Wasserstein()
    for part in range(4):
        pair = a[part * 100 : part * 100 + 100], b[part * 75 : part * 75 + 75]
        power.update(*pair)
        w1.update(*pair)
    finite = b[torch.isfinite(b)]
    assert float(power.compute()) == pytest.approx(
        float(separation_of_counts(histogram(a, edges)[1:-1], histogram(finite, edges)[1:-1]))
    )
    assert float(w1.compute()) == pytest.approx(wasserstein_distance(a.numpy(), finite.numpy()))
    outside = power.outside()
    assert outside["generated/undefined"] == 2
    assert outside["reference/underflow"] == pytest.approx(float((a < -1).double().mean()))
    assert outside["generated/overflow"] == pytest.approx(float((finite > 1).double().mean()))


def _rank(rank: int, address: str, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    power, w1 = SeparationPower(torch.linspace(-1, 1, 11)), Wasserstein()
    a, b = normal(400, 0), normal(300, 1, 0.3)
    for metric in (power, w1):
        metric.update(a[rank::2], b[rank::2])
    shares = PRDC()
    shares.update(a.view(-1, 2)[rank::2], b.view(-1, 2)[rank::2])
    values = torch.stack([power.compute(), w1.compute(), *shares.compute().values()])
    torch.save(values, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.grid
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (str(tmp_path / "meet"), str(tmp_path)), nprocs=2)
    a, b = normal(400, 0), normal(300, 1, 0.3)
    edges = torch.linspace(-1, 1, 11, dtype=torch.float64)
    expected = [
        float(separation_of_counts(histogram(a, edges)[1:-1], histogram(b, edges)[1:-1])),
        wasserstein_distance(a.numpy(), b.numpy()),
        *(figure.value for figure in prdc(a.view(-1, 2), b.view(-1, 2)).values()),
    ]
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt").tolist() == pytest.approx(expected, rel=1e-5)
