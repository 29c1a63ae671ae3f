r"""Density of the numbers of an event that come before its points, given conditions.

For jets these are multiplicity, transverse momentum, pseudorapidity, mass and the sum of the
particles' relative transverse momenta; for showers as clouds the number of points and the total
energy. One neural spline flow :math:`p(y | c)` on quantile-normalised numbers :math:`y`: its
marginals start out right, so that it learns the correlations and the dependence on :math:`c`.

Reference: Durkan et al. 2019, arXiv:1906.04032, as in ``zuko``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import zuko
from torch import Tensor

from simulacra.core import Layout, draws
from simulacra.core.ranges import Count
from simulacra.dynamics.density import Density


class JetLevelFlow(Density):
    """Conditional neural spline flow with an exact inverse.

    Args:
        layout: Numbers per event ``K`` and width of the conditions ``C``, which may be 0.
        hidden: Width of the conditioner networks.
        transforms: Number of autoregressive spline transforms.
        bins: Number of bins of each spline.
    """

    def __init__(self, layout: Layout, hidden: Count, transforms: Count, bins: Count) -> None:
        super().__init__()
        self.features = layout.features
        layers: Sequence[int] = (hidden, hidden)
        self.flow = zuko.flows.NSF(
            layout.features,
            layout.context,
            bins=bins,
            transforms=transforms,
            hidden_features=layers,
        )

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density ``(B,)`` of ``x``, ``(B, K)``."""
        value: Tensor = self.flow(context).log_prob(x)
        return value

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, K)``, one for each row of ``context``."""
        noise = draws.normal((n, self.features), next(self.parameters()), generator)
        value: Tensor = self.flow(context).transform.inv(noise)
        return value
