"""Discrepancies against loops over pairs, weights as repetitions, and what they tell apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.dynamics.discrepancy import (
    BreitWigner,
    Gaussian,
    Kernel,
    Matching,
    mmd,
    mmd_rbf,
    sorted_window_mmd,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mean_kernel(a: list, b: list, alpha: float) -> float:
    """Over all pairs of points, each a list of numbers."""
    pairs = [(p, q) for p in a for q in b]
    apart = [sum((u - v) ** 2 for u, v in zip(p, q, strict=True)) for p, q in pairs]
    return sum(math.exp(-alpha * r) for r in apart) / len(pairs)


def by_loop(x: list, y: list, alpha: float) -> float:
    return mean_kernel(x, x, alpha) + mean_kernel(y, y, alpha) - 2 * mean_kernel(x, y, alpha)


def test_the_discrepancy_is_that_of_a_loop_over_all_pairs() -> None:
    x, y = normal(7, 3), 0.5 + normal(5, 3, seed=1)
    wanted = sum(by_loop(x.tolist(), y.tolist(), alpha) for alpha in (1.0, 0.01))
    assert float(mmd_rbf(x, y, (1.0, 0.01))) == pytest.approx(wanted, abs=1e-5)
    assert float(mmd_rbf(x, x, (1.0, 0.01))) == pytest.approx(0, abs=1e-6)


def test_a_weight_is_a_repetition_in_both_discrepancies() -> None:
    x, y, counts = normal(6, 40), normal(6, 40, seed=1), torch.tensor([0, 1, 2, 1, 0, 3])
    again = torch.repeat_interleave(torch.arange(6), counts)
    torch.testing.assert_close(
        mmd_rbf(x, y, (0.02,), counts.float()), mmd_rbf(x[again], y, (0.02,))
    )
    how = {"window": 8, "stride": 4, "hits": 32, "alpha": 2.0}
    torch.testing.assert_close(
        sorted_window_mmd(x, y, **how, weight=counts.float()),
        sorted_window_mmd(x[again], y[again], **how),
    )


def test_windows_of_sorted_hits_are_those_of_a_loop() -> None:
    x, y = normal(3, 30), 1.2 * normal(3, 30, seed=1)
    window, stride, hits, alpha = 6, 4, 21, 3.0
    found = []
    for one, two in zip(x.tolist(), y.tolist(), strict=True):
        one, two = (sorted(cells, reverse=True)[:hits] for cells in (one, two))
        for start in range(0, hits - window + 1, stride):
            parts = ([[v] for v in cells[start : start + window]] for cells in (one, two))
            found.append(by_loop(*parts, alpha))
    wanted = sum(found) / len(found)
    made = sorted_window_mmd(x, y, window=window, stride=stride, hits=hits, alpha=alpha)
    assert float(made) == pytest.approx(wanted, rel=1e-5)


def test_sorted_hits_ignore_where_cells_lie_and_small_showers_are_one_window() -> None:
    x = normal(4, 20)
    shuffled = x[:, torch.randperm(20, generator=torch.Generator().manual_seed(2))]
    how = {"window": 100, "stride": 25, "hits": 2000, "alpha": 200.0}
    assert float(sorted_window_mmd(x, shuffled, **how)) == pytest.approx(0, abs=1e-6)
    assert float(sorted_window_mmd(x, 1.5 * x, **how)) > 0.01
    with pytest.raises(UserError, match="window, stride and hits from 1"):
        sorted_window_mmd(x, x, window=0, stride=1, hits=5, alpha=1.0)


def test_both_lead_a_sample_towards_the_other() -> None:
    y, x = normal(64, 2), (0.3 * normal(64, 2, seed=1) + 1).requires_grad_()
    optimizer, losses = torch.optim.Adam([x], lr=0.05), []
    for _ in range(60):
        optimizer.zero_grad()
        loss = mmd_rbf(x, y, (1.0, 0.1)) + sorted_window_mmd(
            x.T, y.T, window=8, stride=8, hits=64, alpha=2.0
        )
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("kernel", "value"),
    [
        (Gaussian([2.0, 0.5]), lambda r: math.exp(-(r**2) / 8) + math.exp(-2 * r**2)),
        (BreitWigner([2.0, 0.5]), lambda r: 1 / (1 + r**2) + 1 / (1 + 16 * r**2)),
    ],
)
def test_kernels_of_masses_are_those_of_the_formulas(kernel: Kernel, value) -> None:
    r = torch.tensor([0.0, 0.5, 1.0, 4.0])
    torch.testing.assert_close(kernel(r.square()), torch.tensor([value(x) for x in r.tolist()]))
    x, y = normal(9, 1), normal(6, 1, seed=1)
    pairs = [
        sum(value(abs(a - b)) for a in one for b in two) / (len(one) * len(two))
        for p, q in ((x, x), (y, y), (x, y))
        for one, two in [(p.flatten().tolist(), q.flatten().tolist())]
    ]
    assert float(mmd(x, y, kernel)) == pytest.approx(pairs[0] + pairs[1] - 2 * pairs[2], abs=1e-5)


def test_a_breit_wigner_kernel_is_half_as_high_at_half_its_width() -> None:
    assert float(BreitWigner([3.0])(torch.tensor(1.5**2))) == pytest.approx(0.5)
    with pytest.raises(UserError, match="at least one width"):
        BreitWigner([])


def test_matching_sums_over_quantities_and_counts_weights_of_both_samples() -> None:
    x, y, counts = normal(6, 3), normal(6, 3, seed=1), torch.tensor([0, 1, 2, 1, 0, 3])
    again = torch.repeat_interleave(torch.arange(6), counts)
    match, kernel = Matching(0.5, BreitWigner([1.0])), BreitWigner([1.0])
    wanted = sum(float(mmd(x[:, [k]], y[:, [k]], kernel)) for k in range(3))
    assert float(match(x, y)) == pytest.approx(0.5 * wanted, rel=1e-4)
    torch.testing.assert_close(match(x, y, counts.float()), match(x[again], y[again]))
    assert not torch.allclose(match(x, y, counts.float()), match(x, y), rtol=1e-3)


def test_matching_does_not_see_how_quantities_depend_on_each_other() -> None:
    """What it leaves to a critic: one mass per event, dealt out anew, is the same to it."""
    x, y = normal(50, 2), normal(50, 2, seed=1)
    dealt = torch.stack([x[:, 0], x[torch.randperm(50), 1]], 1)
    match = Matching(1.0, BreitWigner([1.0, 4.0]))
    torch.testing.assert_close(match(dealt, y), match(x, y))


def test_wide_kernels_pull_from_where_narrow_ones_do_not() -> None:
    pulls = []
    for widths in ([1.0], [1.0, 16.0]):
        x = (normal(64, 1) + 40).requires_grad_()
        Matching(1.0, Gaussian(widths))(x, normal(64, 1, seed=1)).backward()
        assert x.grad is not None
        pulls.append(float(x.grad.mean()))
    assert abs(pulls[0]) < 1e-8
    assert pulls[1] > 1e-5
