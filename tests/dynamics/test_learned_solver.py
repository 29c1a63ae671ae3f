"""A solver whose steps are learnt: what it is before, what it learns, and what it learns from."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.dynamics.bespoke_density import BespokeDensity
from simulacra.dynamics.diffusion import flow_matching
from simulacra.dynamics.learned_solver import AccuratePath, LearnedSolver
from simulacra.dynamics.solvers import RK4


def swirl(x: Tensor, t: Tensor) -> Tensor:
    """A field that turns faster and faster towards its end, nothing for even steps."""
    turned = torch.stack([-x[:, 1], x[:, 0]], 1)
    return (0.3 + 8 * t**4) * turned + torch.tanh(x)


def starts(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_before_it_learns_it_is_of_second_order_with_one_evaluation_a_step():
    x = starts(16, 0)
    truth = RK4(400)(x, swirl)
    errors = []
    for steps in (40, 80, 160):
        times: list[float] = []

        def counted(x: Tensor, t: Tensor, times: list[float] = times) -> Tensor:
            times.append(float(t))
            return swirl(x, t)

        solver = LearnedSolver(steps).double()
        with torch.no_grad():
            errors.append(float((solver(x, counted) - truth).norm()))
        assert len(times) == solver.evaluations == steps
        assert times == pytest.approx([number / steps for number in range(steps)])
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders == pytest.approx([2, 2], abs=0.3)


def test_walking_and_the_sum_over_all_steps_are_one_formula():
    torch.manual_seed(0)
    solver, x = LearnedSolver(5).double(), starts(4, 0)
    with torch.no_grad():
        for parameter in solver.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        velocities: list[Tensor] = []

        def kept(x: Tensor, t: Tensor) -> Tensor:
            velocities.append(swirl(x, t))
            return velocities[-1]

        end = solver(x, kept)
        torch.testing.assert_close(solver.forward(x, torch.stack(velocities))[-1], end)
    times = solver.times
    assert times[0] == 0
    assert times[-1] == 1
    assert bool((times.diff() > 0).all())


def test_an_accurate_path_is_the_solution_also_between_its_points():
    x = starts(8, 1)
    path = AccuratePath(x, swirl, 40)
    t = torch.tensor([0.0, 0.123, 0.5, 0.777, 1.0], dtype=torch.float64, requires_grad=True)
    places, slopes = path.at(t)
    for number, time in enumerate(t.tolist()):
        exact = RK4(200)(x, swirl, 0.0, time) if time else x
        torch.testing.assert_close(places[number], exact, atol=2e-4, rtol=0)
        torch.testing.assert_close(
            slopes[number], swirl(exact, torch.tensor(time)), atol=2e-2, rtol=0
        )
    (slope,) = torch.autograd.grad(places[1, 0, 0], t)
    torch.testing.assert_close(slope[1], slopes[1, 0, 0])


def test_it_learns_to_end_nearer_to_the_truth():
    torch.manual_seed(0)
    solver, x = LearnedSolver(8).double(), starts(64, 2)
    truth = RK4(200)(x, swirl)

    def miss() -> float:
        with torch.no_grad():
            return float((solver(x, swirl) - truth).square().mean().sqrt())

    before, path = miss(), AccuratePath(starts(256, 3), swirl, 40)
    optimizer = torch.optim.Adam(solver.parameters(), lr=5e-3)
    for _ in range(500):
        optimizer.zero_grad()
        solver.local_error(path).backward()
        optimizer.step()
    assert miss() < 0.4 * before, (before, miss())


def test_only_the_solver_of_a_trained_density_learns():
    class Net(nn.Module):
        def __init__(self, layout: Layout) -> None:
            super().__init__()
            self.linear = nn.Linear(layout.features, layout.features)

        def forward(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
            return self.linear(x) * (1 + t[:, None])

    density = BespokeDensity(Layout(3, 0), Net, flow_matching(), LearnedSolver(4), 6)
    loss = density.loss(torch.zeros(16, 3), None, None, torch.Generator().manual_seed(0))
    loss.backward()
    reached = {name for name, p in density.named_parameters() if p.grad is not None}
    assert reached == {"solver.pauses", "solver.start", "solver.weight"}
    weight = torch.tensor([1.0] * 8 + [0.0] * 8)
    some = density.loss(torch.zeros(16, 3), None, weight, torch.Generator().manual_seed(0))
    assert not torch.isclose(some, loss)
    assert density.sample(5).shape == (5, 3)
