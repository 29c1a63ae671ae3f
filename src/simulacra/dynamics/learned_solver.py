r"""A solver whose steps are learnt for one trained network.

After ``i`` evaluations :math:`u_j = v(x_j, t_j)` the next point is any combination of them and of the start,

.. math:: x_{i+1} = a_i x_0 + \sum_{j \le i} b_{ij} u_j,

which holds every solver of as many evaluations: its times, ``a`` and ``b`` are free. It begins as the
two-step method of Adams and Bashforth on even times, of order two with one evaluation each, and learns from
accurate paths to land on them where the velocities are theirs (the local error). Between the points of such
a path :class:`AccuratePath` interpolates, so that times are learnt as well, and no gradient passes through
the network.

References: Shaul et al. 2024, arXiv:2403.01329, equation 9; CaloDREAM, arXiv:2405.09629, section 4.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulacra.core import weighted_mean
from simulacra.core.ranges import Count
from simulacra.dynamics.solvers import RK4, Field, OdeSolver


class LearnedSolver(nn.Module, OdeSolver):
    """See the module's docstring.

    Args:
        steps: Steps, one evaluation each.
    """

    def __init__(self, steps: Count) -> None:
        super().__init__()
        self.steps = steps
        self.pauses = nn.Parameter(torch.zeros(steps))
        self.start = nn.Parameter(torch.ones(steps))
        single = 1.5 * torch.eye(steps) - 0.5 * torch.diag(torch.ones(steps - 1), -1)
        single[0, 0] = 1.0
        self.weight = nn.Parameter(single.cumsum(0) / steps)

    @property
    def evaluations(self) -> int:
        """One per step."""
        return self.steps

    @property
    def times(self) -> Tensor:
        """``steps + 1`` times from 0 to 1."""
        ends = self.pauses.softmax(0).cumsum(0)
        return torch.cat([ends.new_zeros(1), ends[:-1], ends.new_ones(1)])

    def forward(self, x: Tensor, velocities: Tensor) -> Tensor:
        """Points ``(steps, B, *)`` after each step, from the start ``(B, *)`` and ``(steps, B, *)``."""
        moved = torch.tensordot(self.weight.tril(), velocities, 1)
        return self.start.view(-1, *[1] * x.ndim) * x + moved

    def __call__(  # type: ignore[override]  # a solver is called for its solution
        self, x: Tensor, velocity: Field, start: float = 0.0, end: float = 1.0
    ) -> Tensor:
        """See :meth:`~simulacra.dynamics.solvers.OdeSolver.__call__`."""
        times, weight = self.times.to(x), self.weight.to(x)
        point, found = x, []
        for step in range(self.steps):
            found.append((end - start) * velocity(point, start + (end - start) * times[step]))
            point = self.start[step].to(x) * x
            for number, u in enumerate(found):
                point = point + weight[step, number] * u
        return point

    def local_error(self, path: AccuratePath, weight: Tensor | None = None) -> Tensor:
        """Mean square distance from an accurate path where velocities are the path's, a scalar.

        Args:
            path: Of ``B`` events.
            weight: Event weights ``(B,)``, or None.
        """
        points, velocities = path.at(self.times)
        miss = self.forward(points[0], velocities[:-1]) - points[1:]
        return weighted_mean(miss.square().flatten(2).mean((0, 2)), weight)


class AccuratePath:
    """Solutions of a velocity field from 0 to 1, cubic between points at which they and it are known.

    Args:
        x: Where they start, ``(B, *)``.
        velocity: The field.
        points: Intervals between the points, four evaluations each.
    """

    def __init__(self, x: Tensor, velocity: Field, points: int) -> None:
        solver, self.points = RK4(1), points
        times = torch.linspace(0, 1, points + 1).to(x)
        places, slopes = [x], [velocity(x, times[0])]
        for number in range(points):
            t, s = float(times[number]), float(times[number + 1])
            places.append(solver(places[-1], velocity, t, s))
            slopes.append(velocity(places[-1], times[number + 1]))
        self.places, self.slopes = torch.stack(places), torch.stack(slopes)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Points and velocities ``(T, B, *)`` at times ``(T,)``, differentiable in them."""
        scaled = t * self.points
        left = scaled.detach().floor().long().clamp(0, self.points - 1)
        s = (scaled - left).view(-1, *[1] * (self.places.ndim - 1))
        a, b = self.places[left], self.places[left + 1]
        da, db = self.slopes[left] / self.points, self.slopes[left + 1] / self.points
        rise = b - a
        # Hermite: a + s da + s^2 (3 rise - 2 da - db) + s^3 (da + db - 2 rise)
        second, third = 3 * rise - 2 * da - db, da + db - 2 * rise
        place = a + s * (da + s * (second + s * third))
        slope = (da + s * (2 * second + 3 * s * third)) * self.points
        return place, slope
