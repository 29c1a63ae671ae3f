r"""Diffusion of vectors about their regression on the context.

Before training, numbers :math:`x` are regressed on the context and its squares by weighted least squares,
:math:`m(c) = B\,(1, c, c^2)`. What is learnt is the rest in units of its width,

.. math:: \frac{x - m(c)}{\sigma}, \qquad \sigma^2 = \langle (x - m(c))^2 \rangle ,

so that how means depend on conditions is there from the start.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from simulacra.core import Layout, UserError
from simulacra.core.ranges import Count
from simulacra.dynamics.density import Rows
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.diffusion_density import DiffusionDensity, MakeNet
from simulacra.dynamics.solvers import Solver


class RegressedDiffusion(DiffusionDensity):
    """See the module's docstring.

    Args:
        layout: See :class:`~simulacra.dynamics.diffusion_density.DiffusionDensity`, as all others.
        net: Makes the network.
        process: How it learns.
        solver: Solver for sampling.
        copies: Noises and times of an event in a step.
    """

    slopes: Tensor
    width: Tensor

    def __init__(
        self, layout: Layout, net: MakeNet, process: Diffusion, solver: Solver, copies: Count = 1
    ) -> None:
        super().__init__(layout, net, process, solver, copies)
        self.register_buffer("slopes", torch.zeros(1 + 2 * layout.context, layout.features))
        self.register_buffer("width", torch.ones(layout.features))

    @torch.no_grad()
    def fit(self, rows: Iterable[Rows]) -> None:
        """Regress the numbers of all training events on their contexts.

        Raises:
            UserError: If there are no events.
        """
        parts = list(rows)
        if not parts:
            raise UserError("a density starts from training events, and there are none")
        x = torch.cat([values for values, _, _ in parts]).double()
        terms = torch.cat([_terms(values, context) for values, context, _ in parts]).double()
        weight = torch.cat([_weights(values, weight) for values, _, weight in parts]).double()
        root = weight[:, None].clamp_min(0).sqrt()
        # by the normal equations with a small ridge: classes add up to one, as the constant is
        square = (root * terms).T @ (root * terms)
        ridge = 1e-6 * square.diagonal().mean() * torch.eye(len(square)).to(square)
        slopes = torch.linalg.solve(square + ridge, (root * terms).T @ (root * x))
        rest = (root * (x - terms @ slopes)).square().sum(0) / weight.sum().clamp_min(1e-300)
        self.slopes.copy_(slopes)
        self.width.copy_(torch.where(rest > 1e-12, rest.sqrt(), 1.0))

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean distance of the process for what is left of ``x``, weighted over events."""
        rest = (x - _terms(x, context) @ self.slopes) / self.width
        return super().loss(rest, context, weight, generator)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context."""
        rest = super().sample(n, context, generator)
        return rest * self.width + _terms(rest, context) @ self.slopes


def _terms(like: Tensor, context: Tensor | None) -> Tensor:
    """One, context and its squares ``(B, 1 + 2 C)``."""
    one = like.new_ones(len(like), 1)
    return one if context is None else torch.cat([one, context, context.square()], 1)


def _weights(like: Tensor, weight: Tensor | None) -> Tensor:
    return like.new_ones(len(like)) if weight is None else weight.to(like)
