"""The standard normal distribution as a density without parameters: the prior of an auto-encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core import Layout, draws
from simulacra.dynamics.density import Density


class StandardNormal(Density):
    """Independent numbers of mean 0 and width 1, whatever the context.

    Args:
        layout: Numbers that are described.
    """

    zeros: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.features = layout.features
        self.register_buffer("zeros", torch.zeros(layout.features), persistent=False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`~simulacra.dynamics.density.Density`."""
        return -0.5 * (x.square() + math.log(2 * math.pi)).sum(1)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`~simulacra.dynamics.density.Density`."""
        return draws.normal((n, self.features), self.zeros, generator)
