r"""Density of numbers that follow each other, each drawn by a diffusion that knows those before it.

.. math:: p(x | c) = \prod_i p(x_i | x_1 \dots x_{i-1}, c).

A causal transformer turns the numbers before into a vector, and one small network, the same for all, tells
the velocity of a single number given that vector. All numbers learn at once, each at a time of its own, from
true ones before them. Sampling solves for one number after the other with any solver; the transformer keeps
what it has seen, so that it looks at each number once.

Reference: CaloDREAM ("transfusion"), arXiv:2405.09629, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.core import Layout, draws
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.density import Density
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver
from simulacra.nn.encoder_decoder import CausalDecoder
from simulacra.nn.number_net import NumberNet


class Transfusion(Density):
    """See the module's docstring.

    Args:
        layout: What is described.
        past: Makes the transformer that looks at the numbers before.
        net: Makes the network of a single number from the width of the vectors that it is given.
        process: How it learns.
        solver: Solver for sampling.
    """

    exact = False

    def __init__(
        self,
        layout: Layout,
        past: Callable[[Layout], CausalDecoder],
        net: Callable[[int], NumberNet],
        process: Diffusion,
        solver: Solver,
    ) -> None:
        super().__init__()
        self.features = layout.features
        self.past = past(layout)
        self.net = net(self.past.width)
        process.equip(self.net)
        self.process, self.solver = process, solver

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean distance of the process over all numbers, weighted over events."""
        known = self.past(x, context).flatten(0, 1)  # (B N, W)
        # times are spread evenly over the rows, whose order must say nothing of event or place
        order = draws.permutation(x.numel(), x, generator)
        rows = x.reshape(-1, 1)[order]
        counts = None
        if weight is not None:
            counts = weight.to(x)[:, None].expand_as(x).reshape(-1, 1)[order]
        noise = draws.normal(rows.shape, rows, generator)
        return self.process.loss(Bound(self.net, known[order]), rows, noise, counts, generator)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context, number by number."""
        noise = draws.normal((n, self.features), next(self.parameters()), generator)
        state, before, made = self.past.start(n, context), torch.zeros_like(noise[:, 0]), []
        for place in range(self.features):
            known, state = self.past.step(before, state)
            denoiser = self.process.denoiser(Bound(self.net, known))
            found = self.solver.sample(denoiser, noise[:, place : place + 1], generator)
            made.append(found)
            before = found[:, 0]
        return torch.cat(made, dim=1)
