r"""Densities of vectors by diffusion or flow matching: noise is turned into data along a path.

A network learns on the path of a :class:`~simulacra.dynamics.diffusion.Diffusion`, and any solver draws from
it. The density itself is not known.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.core import Layout, draws
from simulacra.core.ranges import Count
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.density import Density
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver

MakeNet = Callable[[Layout], nn.Module]
"""From what is described. The network is called as ``net(x, t, context)``: values ``(B, D)``, numbers
``(B,)`` that tell the time, context ``(B, C)`` or None."""


class DiffusionDensity(Density):
    """See the module's docstring.

    Args:
        layout: What is described.
        net: Makes the network of it.
        process: How it learns.
        solver: Solver for sampling.
        copies: Noises and times of an event in a step; of vectors, more of them cost little beside what else
            a model learns, and steady the loss of few events.
    """

    def __init__(
        self,
        layout: Layout,
        net: MakeNet,
        process: Diffusion,
        solver: Solver,
        copies: Count = 1,
    ) -> None:
        super().__init__()
        self.features = layout.features
        self.net = net(layout)
        process.equip(self.net)
        self.process, self.solver, self.copies = process, solver, copies

    exact = False

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean distance of the process, weighted over events."""
        x = self._copied(x)
        context = None if context is None else self._copied(context)
        weight = None if weight is None else self._copied(weight)
        noise = draws.normal(x.shape, x, generator)
        counts = None if weight is None else weight[:, None].to(x).expand_as(x)
        return self.process.loss(self.network(context), x, noise, counts, generator)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context."""
        noise = draws.normal((n, self.features), next(self.parameters()), generator)
        denoiser = self.process.denoiser(self.network(context))
        return self.solver.sample(denoiser, noise, generator)

    def network(self, context: Tensor | None) -> Bound:
        """The network that samples, for the contexts of a batch."""
        return Bound(self.net, context)

    def _copied(self, rows: Tensor) -> Tensor:
        return rows if self.copies == 1 else torch.cat([rows] * self.copies)
