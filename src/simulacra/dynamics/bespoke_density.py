"""A density by diffusion that is trained already, and whose solver learns to draw from it in few steps."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Layout, draws
from simulacra.core.ranges import Count
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.diffusion_density import MakeNet
from simulacra.dynamics.distilled_density import TaughtDensity
from simulacra.dynamics.learned_solver import AccuratePath, LearnedSolver


class BespokeDensity(TaughtDensity):
    """See the module's docstring.

    Args:
        layout: What is described.
        net: Makes the network, as the teacher's; it is not trained again.
        process: How it learnt.
        solver: The solver that learns.
        points: Intervals of the accurate paths, four evaluations each.
    """

    solver: LearnedSolver

    def __init__(
        self,
        layout: Layout,
        net: MakeNet,
        process: Diffusion,
        solver: LearnedSolver,
        points: Count,
    ) -> None:
        super().__init__(layout, net, process, solver)
        self.points = points
        self.net.requires_grad_(False)

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Local error of the solver on accurate paths of the trained network from new noise."""
        noise = draws.normal(x.shape, x, generator)
        denoiser = self.process.denoiser(Bound(self.net, context))
        with torch.no_grad():
            path = AccuratePath(denoiser.path.start * noise, denoiser.velocity, self.points)
        return self.solver.local_error(path, weight)
