"""Distances of two samples against another library and closed forms."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from simulacra.dynamics.discrepancy import Gaussian
from simulacra.dynamics.two_samples import (
    KernelDiscrepancy,
    SampleDistance,
    SinkhornDivergence,
)

DISTANCES = [SinkhornDivergence(0.3, 40), KernelDiscrepancy(Gaussian([0.5, 2.0]))]
each = pytest.mark.parametrize("distance", DISTANCES, ids=lambda item: type(item).__name__)


def sample(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_sinkhorn_divergence_is_that_of_another_library() -> None:
    x, y = sample(30, 0), sample(40, 1) + 0.7

    def entropic(a: Tensor, b: Tensor) -> float:
        p, q = (np.full(len(item), 1 / len(item)) for item in (a, b))
        cost = 0.5 * ot.dist(a.numpy(), b.numpy())
        plan = ot.sinkhorn(p, q, cost, 1.0, stopThr=1e-10, numItermax=5000)
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = np.where(plan > 0, plan * np.log(plan / (p[:, None] * q[None])), 0).sum()
        return float((plan * cost).sum() + kl)

    wanted = entropic(x, y) - 0.5 * (entropic(x, x) + entropic(y, y))
    assert float(SinkhornDivergence(1.0, 100)(x, y)) == pytest.approx(wanted, rel=1e-3)


def test_a_shift_costs_half_its_square() -> None:
    x = sample(200, 0)
    shift = torch.tensor([1.5, -0.5], dtype=torch.float64)
    found = float(SinkhornDivergence(0.3, 60)(x, x + shift))
    assert found == pytest.approx(0.5 * float(shift.square().sum()), rel=0.02)


@each
def test_it_is_least_for_equal_samples_and_weights_repeat_events(distance: SampleDistance) -> None:
    x, y = sample(20, 0), sample(20, 1) + 1
    assert abs(float(distance(x, x))) < 1e-6 < float(distance(x, y))
    weight = torch.tensor([2.0, 0.0] + [1.0] * 18, dtype=torch.float64)
    repeated = torch.cat([x[:1], x[:1], x[2:]])
    torch.testing.assert_close(distance(x, y, weight), distance(repeated, y), rtol=1e-4, atol=1e-6)


@each
def test_gradients_lead_one_sample_to_the_other(distance: SampleDistance) -> None:
    x, y = sample(50, 0).requires_grad_(True), sample(60, 1) + 2
    (slope,) = torch.autograd.grad(distance(x, y), x)
    assert bool((slope.sum(0) < 0).all())
