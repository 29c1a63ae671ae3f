from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from simulacra.core import Batch
from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.metrics.distances.emd import (
    CovMMD,
    cov_mmd,
    cov_mmd_score,
    coverage,
    emd,
    emds,
    matching_distance,
    nearest,
)
from simulacra.metrics.distances.emd import _transport as solver
from simulacra.metrics.distances.emd_bound import lower_bounds
from simulacra.metrics.engine.score import NotRun, judged
from simulacra.physics.jets import JetObservables

SPEC = jetnet(30, ["t"])


def jets(n: int, seed: int, scale: float = 1.0) -> Tensor:
    return toy_jets(SPEC, n, seed, 1).x * torch.tensor([scale, scale, 1.0])


def by_linear_programme(first: np.ndarray, second: np.ndarray) -> float:
    """The definition of arXiv:1902.02346 eq. 1 with R = 1: partial flow, and what is left costs 1."""
    n, m = len(first), len(second)
    theta = np.hypot(*(first[:, None, i] - second[None, :, i] for i in range(2)))
    rows = [np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
    totals = first[:, 2].sum(), second[:, 2].sum()
    solved = linprog(
        theta.ravel(),
        A_ub=np.concatenate(rows),
        b_ub=np.concatenate([first[:, 2], second[:, 2]]),
        A_eq=np.ones((1, n * m)),
        b_eq=[min(totals)],
    )
    return solved.fun + abs(totals[0] - totals[1])


def test_emd_is_the_solution_of_its_linear_programme() -> None:
    generator = torch.Generator().manual_seed(0)
    for n, m in ((3, 4), (6, 2), (5, 5)):
        pair = [torch.rand(size, 3, generator=generator, dtype=torch.float64) for size in (n, m)]
        for part in pair:
            part[:, :2] *= 0.5
        expected = by_linear_programme(*(part.numpy() for part in pair))
        assert emd(*pair) == pytest.approx(expected, rel=1e-9)


def test_emd_has_its_closed_forms() -> None:
    one = torch.tensor([[0.1, 0.2, 0.5]])
    assert emd(one, torch.tensor([[0.4, 0.6, 0.5]])) == pytest.approx(0.5 * 0.5, rel=1e-6)
    assert emd(one, torch.tensor([[0.4, 0.6, 0.8]])) == pytest.approx(0.5 * 0.5 + 0.3, rel=1e-6)
    assert emd(one, torch.zeros(4, 3)) == pytest.approx(0.5)
    assert emd(torch.zeros(0, 3), torch.zeros(2, 3)) == 0
    assert emd(one, one) == pytest.approx(0, abs=1e-12)


def test_emd_is_symmetric_and_ignores_padding_and_order() -> None:
    first, second = jets(4, 1), jets(3, 2)
    distances = emds(first, second)
    torch.testing.assert_close(emds(second, first).T, distances, rtol=1e-9, atol=1e-12)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([torch.zeros(4, 5, 3), first[:, order]], 1)
    torch.testing.assert_close(emds(padded, second), distances, rtol=1e-9, atol=1e-12)


def test_bounds_lie_below_the_distances_and_near_to_them() -> None:
    first, second = jets(15, 1), jets(12, 2, 1.5)
    first[0, :3, 0] = torch.tensor([-40.0, 2.0, 0.9])  # beyond the bins
    second[0, 1:] = 0  # a single particle
    second[1] = 0  # none
    second[2] *= torch.tensor([1.0, 1.0, 3.0])  # one of far more momentum
    distances = emds(first, second)
    bounds = torch.from_numpy(lower_bounds(first.double().numpy(), second.double().numpy()))
    assert bool((bounds <= distances).all())
    assert float((bounds / distances)[1:].mean()) > 0.8


@pytest.mark.parametrize(("scale", "least"), [(1.0, 0.5), (1.6, 0.5), (20.0, 0.0)])
def test_nearest_jets_are_those_of_the_whole_table(scale: float, least: float) -> None:
    first, second = jets(25, 1), jets(20, 2, scale)
    first[3], second[7] = first[0], second[1]  # ties
    second[4] = first[5]
    distances, found = emds(first, second), nearest(first, second)
    for axis in (0, 1):
        assert torch.equal(found.amin(axis), distances.amin(axis))
        assert torch.equal(found.argmin(axis), distances.argmin(axis))
    skipped = found.isinf()
    assert torch.equal(found[~skipped], distances[~skipped])
    assert float(skipped.double().mean()) >= least


def test_coverage_and_matching_distance_of_a_table() -> None:
    # rows: generated; columns: real
    distances = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.3, 0.8], [0.7, 0.6, 0.4]])
    assert coverage(distances) == pytest.approx(2 / 3)
    assert matching_distance(distances) == pytest.approx((0.1 + 0.3 + 0.4) / 3)


def test_cov_and_mmd_are_means_over_drawn_batches() -> None:
    real, fake = jets(12, 1), jets(9, 2)
    rng = np.random.default_rng(3)
    expected = []
    for _ in range(3):
        a, b = rng.choice(12, size=8), rng.choice(9, size=8)
        table = np.array([[emd(fake[j], real[i]) for i in a] for j in b])
        expected.append((len(np.unique(table.argmin(1))) / 8, table.min(0).mean()))
    found = cov_mmd(real, fake, samples=8, batches=3, seed=3)
    means, spreads = np.mean(expected, axis=0), np.std(expected, axis=0, ddof=1) / np.sqrt(3)
    for key, mean, spread in zip(("cov", "mmd"), means, spreads, strict=True):
        assert found[key].value == pytest.approx(mean, rel=1e-9)
        assert found[key].error == pytest.approx(spread, rel=1e-9)
        assert found[key].power == 0
    metric = CovMMD(samples=8, batches=3, seed=3)
    metric.update(real[:5], fake[:2])
    metric.update(real[5:], fake[2:])
    assert float(metric.compute()["mmd"]) == pytest.approx(means[1], rel=1e-9)


def test_copies_of_one_jet_lose_coverage_and_wider_jets_are_further_away() -> None:
    real = jets(60, 1)
    sizes = {"samples": 15, "batches": 3}
    same = cov_mmd(real, jets(60, 2), **sizes)
    collapsed = cov_mmd(real, jets(1, 2).repeat(60, 1, 1), **sizes)
    wider = cov_mmd(real, jets(60, 2, 2.0), **sizes)
    assert collapsed["cov"].value == pytest.approx(1 / 15)
    assert same["cov"].value > 0.3
    assert wider["mmd"].error is not None
    assert wider["mmd"].value - same["mmd"].value > 5 * wider["mmd"].error


def test_negative_momenta_are_refused() -> None:
    toy = toy_jets(SPEC, 5, 0, 1)
    broken = Batch(toy.x * torch.tensor([1.0, 1.0, -1.0]), {}, toy.event, toy.mask)
    pair = judged(toy, JetObservables(SPEC)), judged(broken, JetObservables(SPEC))
    with pytest.raises(NotRun, match="ptrel >= 0"):
        cov_mmd_score(*pair, 0, samples=2, batches=1)
    with pytest.raises(NotRun, match="got 0 and 5"):
        cov_mmd(toy.x[:0], toy.x)


def test_without_its_solver_the_score_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    solver.cache_clear()
    with pytest.raises(NotRun, match=r"needs the package POT: install simulacra\[jets\]"):
        emd(jets(1, 0)[0], jets(1, 1)[0])
    monkeypatch.undo()
    assert emd(jets(1, 0)[0], jets(1, 1)[0]) > 0
