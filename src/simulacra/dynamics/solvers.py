r"""Solvers of ordinary differential equations :math:`\dot x = v(x, t)`, for flows and diffusions.

A solver knows only a callable ``velocity(x, t)``; what the velocity is conditioned on is bound in
the callable. The fixed-step solvers walk an evenly spaced grid :math:`t_k = t_0 + k h`,
:math:`h = (t_1 - t_0) / n`, in either direction (:math:`h` may be negative). One step from
:math:`t` to :math:`t + h` is

=========  ===========================================================================  =====  ===========
solver     step                                                                         order  evaluations
=========  ===========================================================================  =====  ===========
Euler      :math:`x + h v(x, t)`                                                        1      1
Midpoint   :math:`x + h v(x + \tfrac h2 v(x, t), t + \tfrac h2)`                        2      2
Heun       :math:`x + \tfrac h2 (k_1 + v(x + h k_1, t + h))`, :math:`k_1 = v(x, t)`     2      2
RK4        classical Runge-Kutta                                                        4      4
=========  ===========================================================================  =====  ===========
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.core import UserError, draws
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive
from simulacra.dynamics.denoiser import Denoiser

Field = Callable[[Tensor, Tensor], Tensor]
"""``velocity(x, t)``: ``x`` of shape ``(B, *)`` and a time of shape ``()`` to a tensor shaped as ``x``."""


@role
class Solver(ABC):
    """Turns noise into data."""

    @abstractmethod
    def sample(
        self, denoiser: Denoiser, noise: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Data of standard normal ``noise``, ``(B, *)``; a random walk draws from ``generator``."""

    @property
    @abstractmethod
    def evaluations(self) -> int | None:
        """Network evaluations of one call, or None where the solver chooses them itself."""


class OdeSolver(Solver):
    """Integrates a velocity from one time to another; deterministic, so :meth:`sample` needs no generator."""

    @abstractmethod
    def __call__(self, x: Tensor, velocity: Field, start: float = 0.0, end: float = 1.0) -> Tensor:
        """The solution at ``end`` that passes through ``x`` of shape ``(B, *)`` at ``start``."""

    def sample(
        self, denoiser: Denoiser, noise: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :meth:`Solver.sample`."""
        return self(denoiser.path.start * noise, denoiser.velocity)


class FixedStepSolver(OdeSolver):
    """Solver on an evenly spaced grid.

    Args:
        steps: Number of steps.
    """

    order: int
    stages: int

    def __init__(self, steps: Count) -> None:
        if steps < 1:
            raise ValueError(f"a solver needs at least one step, got {steps}")
        self.steps = steps

    def __call__(self, x: Tensor, velocity: Field, start: float = 0.0, end: float = 1.0) -> Tensor:
        """See :meth:`OdeSolver.__call__`."""
        times = torch.linspace(start, end, self.steps + 1, dtype=torch.float64).to(
            x.device, x.dtype
        )
        for t, s in itertools.pairwise(times):
            x = self.step(x, t, s, velocity)
        return x

    @property
    def evaluations(self) -> int:
        """Velocity evaluations of one call."""
        return self.steps * self.stages

    @abstractmethod
    def step(self, x: Tensor, t: Tensor, s: Tensor, velocity: Field) -> Tensor:
        """Advance ``x`` of shape ``(B, *)`` from time ``t`` to ``s``, both of shape ``()``."""


class Euler(FixedStepSolver):
    """First-order explicit solver, one evaluation per step."""

    order = 1
    stages = 1

    def step(self, x: Tensor, t: Tensor, s: Tensor, velocity: Field) -> Tensor:
        """See :meth:`FixedStepSolver.step`."""
        return x + (s - t) * velocity(x, t)


class Midpoint(FixedStepSolver):
    """Second-order explicit solver, two evaluations per step."""

    order = 2
    stages = 2

    def step(self, x: Tensor, t: Tensor, s: Tensor, velocity: Field) -> Tensor:
        """See :meth:`FixedStepSolver.step`."""
        half = (s - t) / 2
        return x + (s - t) * velocity(x + half * velocity(x, t), t + half)


class Heun(FixedStepSolver):
    """Second-order explicit trapezoidal solver, two evaluations per step."""

    order = 2
    stages = 2

    def step(self, x: Tensor, t: Tensor, s: Tensor, velocity: Field) -> Tensor:
        """See :meth:`FixedStepSolver.step`."""
        h = s - t
        first = velocity(x, t)
        return x + h / 2 * (first + velocity(x + h * first, s))


class RK4(FixedStepSolver):
    """Classical fourth-order Runge-Kutta solver, four evaluations per step."""

    order = 4
    stages = 4

    def step(self, x: Tensor, t: Tensor, s: Tensor, velocity: Field) -> Tensor:
        """See :meth:`FixedStepSolver.step`."""
        h = s - t
        middle = t + h / 2
        first = velocity(x, t)
        second = velocity(x + h / 2 * first, middle)
        third = velocity(x + h / 2 * second, middle)
        fourth = velocity(x + h * third, s)
        return x + h / 6 * (first + 2 * second + 2 * third + fourth)


class Mean(Solver):
    r"""Steps :math:`x + (s - t)\, u(x, t, s)` of a network of mean velocities ``u``, one evaluation each.

    Args:
        steps: Number of steps, evenly spaced in time; they are exact where the network is.

    Reference: Geng et al. 2025, arXiv:2505.13447, equation 12.
    """

    def __init__(self, steps: Count) -> None:
        if steps < 1:
            raise ValueError(f"a solver needs at least one step, got {steps}")
        self.steps = steps

    @property
    def evaluations(self) -> int:
        """One per step."""
        return self.steps

    def sample(
        self, denoiser: Denoiser, noise: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :meth:`Solver.sample`."""
        x = denoiser.path.start * noise
        for step in range(self.steps):
            t, s = step / self.steps, (step + 1) / self.steps
            x = x + (s - t) * denoiser.mean(x, t, s)
        return x


class DormandPrince(OdeSolver):
    """Adaptive solver of order 5(4), from ``torchdiffeq``.

    The step is chosen for the whole batch, so a sample depends (within the tolerance) on what it is
    batched with.

    Args:
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_evaluations: Network evaluations of one call at most.
    """

    def __init__(
        self, rtol: Positive = 1e-5, atol: Positive = 1e-5, max_evaluations: Count = 10_000
    ) -> None:
        self.rtol = rtol
        self.atol = atol
        self.max_evaluations = max_evaluations

    def __call__(self, x: Tensor, velocity: Field, start: float = 0.0, end: float = 1.0) -> Tensor:
        """See :meth:`OdeSolver.__call__`; samples whose velocity is not finite are NaN, and leave the step of
        the others as it is.

        Raises:
            UserError: If the tolerances cannot be reached, or not within ``max_evaluations``, or in an
                exported graph, whose steps are fixed.
        """
        if draws.unrolled():
            raise UserError(
                "the solver dormand_prince chooses its steps by what it sees, which an exported graph "
                "cannot: take one with fixed steps, such as solver=heun or solver=midpoint"
            )
        from torchdiffeq import odeint  # brings all of scipy.integrate

        times = torch.tensor([start, end], dtype=x.dtype, device=x.device)
        bad = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        done = 0

        def bounded(t: Tensor, y: Tensor) -> Tensor:
            nonlocal bad, done
            if done >= self.max_evaluations:
                raise UserError(
                    f"the solver has not come to its end after {done} evaluations of the network, at time "
                    f"{float(t):.6g}: take larger tolerances than rtol={self.rtol:g} and "
                    f"atol={self.atol:g}, or another solver"
                )
            done += 1
            value = velocity(y, t)
            bad = bad | ~torch.isfinite(value).flatten(1).all(1)
            return torch.where(bad.view(-1, *[1] * (x.ndim - 1)), 0.0, value)

        try:
            path = odeint(bounded, x, times, rtol=self.rtol, atol=self.atol, method="dopri5")
        except (
            AssertionError
        ) as error:  # torchdiffeq's word for steps that are too short to be told apart
            raise UserError(
                f"the solver cannot reach rtol={self.rtol:g} and atol={self.atol:g} in {x.dtype} "
                f"({error}): take larger tolerances, or another solver"
            ) from error
        return path[-1].masked_fill(bad.view(-1, *[1] * (x.ndim - 1)), torch.nan)

    @property
    def evaluations(self) -> None:
        """Not known beforehand."""
        return None
