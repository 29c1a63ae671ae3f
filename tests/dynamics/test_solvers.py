from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.dynamics.solvers import (
    RK4,
    DormandPrince,
    Euler,
    Field,
    FixedStepSolver,
    Heun,
    Midpoint,
)

FIXED = [Euler, Midpoint, Heun, RK4]


def rotation(x: Tensor, t: Tensor) -> Tensor:
    """Rotating and growing linear field; from (1, 0) the solution is exp(t^2 / 2) (cos t, sin t)."""
    turned = torch.stack([-x[:, 1], x[:, 0]], 1)
    return t * x + turned


def exact(t: float) -> Tensor:
    return math.exp(t * t / 2) * torch.tensor([[math.cos(t), math.sin(t)]], dtype=torch.float64)


@pytest.mark.parametrize("kind", FIXED)
def test_error_falls_with_the_order_of_the_solver(kind: type[FixedStepSolver]) -> None:
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    errors = [float((kind(n)(start, rotation) - exact(1.0)).norm()) for n in (16, 32, 64)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders == pytest.approx([kind.order] * 2, abs=0.25)


@pytest.mark.parametrize("kind", FIXED)
def test_evaluations_are_counted(kind: type[FixedStepSolver]) -> None:
    times: list[float] = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        times.append(float(t))
        return x

    solver = kind(5)
    solver(torch.ones(1, 1), velocity)
    assert len(times) == solver.evaluations
    assert min(times) >= 0
    assert max(times) <= 1


@pytest.mark.parametrize("solver", [RK4(40), DormandPrince(1e-8, 1e-8)])
def test_integrating_there_and_back_returns_to_the_start(solver: RK4 | DormandPrince) -> None:
    start = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=torch.float64)
    there = solver(start, rotation, 0.0, 1.0)
    assert torch.allclose(there[:1], exact(1.0), atol=1e-6)
    assert torch.allclose(solver(there, rotation, 1.0, 0.0), start, atol=1e-6)


@pytest.mark.parametrize("solver", [Euler(200), Midpoint(25), Heun(25), RK4(10), DormandPrince()])
def test_perfect_velocity_turns_noise_into_gaussian_data(solver: Euler | DormandPrince) -> None:
    mean, width = 2.0, 0.5

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        """E[data - noise | x] on the straight path between N(0, 1) and N(mean, width^2)."""
        variance = (1 - t) ** 2 + (t * width) ** 2
        slope = (t * width**2 - (1 - t)) / variance
        return mean + slope * (x - t * mean)

    noise = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None]
    # The exact flow of this field is the monotone map between the two Gaussians.
    assert torch.allclose(solver(noise, velocity), mean + width * noise, atol=0.02)


def test_a_solver_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        Euler(0)


def test_the_adaptive_solver_keeps_what_is_not_finite_apart() -> None:
    start = torch.linspace(-1, 1, 5)[:, None]

    def decay(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.where((start > 0.9) & (t > 0.3), torch.nan, -x)

    found = DormandPrince()(start, decay)
    torch.testing.assert_close(found[:4], start[:4] * math.exp(-1), rtol=1e-4, atol=1e-5)
    assert bool(found[4].isnan().all())
    assert bool(DormandPrince()(start, lambda x, t: x * torch.nan).isnan().all())


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            lambda x, t: torch.sin(1e4 * t) * 1e4 + 0 * x,
            "after 200 evaluations .* larger tolerances",
        ),
        (lambda x, t: x**3 * 1e4, "evaluations|cannot reach"),
    ],
)
def test_the_adaptive_solver_ends_in_one_sentence(field: Field, message: str) -> None:
    solver = DormandPrince(1e-12, 1e-12, max_evaluations=200)
    with pytest.raises(UserError, match=message) as stopped:
        solver(torch.ones(2, 1), field)
    assert "\n" not in str(stopped.value)
