r"""Density of the numbers of an event that come before its points, given conditions.

For jets these are multiplicity, transverse momentum, pseudorapidity, mass and the sum of the
particles' relative transverse momenta; for showers as clouds the number of points and the total
energy. One neural spline flow :math:`p(y | c)` on quantile-normalised numbers :math:`y`: its
marginals start out right, so that it learns the correlations and the dependence on :math:`c`.

Reference: Durkan et al. 2019, arXiv:1906.04032, as in ``zuko``.

Note:
    The masked networks are zuko's; what they steer is computed here, since zuko builds its transforms anew at
    every call, which for a few numbers takes many times as long as the networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import zuko
from torch import Tensor, nn

from simulacra.core import Layout, draws
from simulacra.core.ranges import Count
from simulacra.dynamics.density import Density
from simulacra.dynamics.splines import SoftQuadratic
from simulacra.nn.derived import Derived, keeps


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
        self.flow = zuko.flows.NSF(
            layout.features,
            layout.context,
            bins=bins,
            transforms=transforms,
            hidden_features=(hidden, hidden),
        )
        self.spline = SoftQuadratic(bins)
        ways = [range(self.features), range(self.features)[::-1]]
        self.steps = [
            _Step(step, self.spline, ways[i % 2])
            for i, step in enumerate(self.flow.transform.transforms)
        ]

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density ``(B,)`` of ``x``, ``(B, K)``."""
        slopes = []
        for step in self.steps:
            x, log_slope = step(x, context)
            slopes.append(log_slope)
        logs = torch.stack(slopes).sum(0) - 0.5 * x.square()
        return logs.sum(-1) - 0.5 * self.features * math.log(2 * math.pi)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, K)``, one for each row of ``context``."""
        x = draws.normal((n, self.features), next(self.parameters()), generator)
        for step in reversed(self.steps):
            x = step.inverse(x, context)
        return x


class _Step:
    """A transform of the flow: numbers in an order, each moved by a spline that those before it steer.

    Args:
        made: It, as zuko makes it; that of a single number has no masks.
        spline: The elementwise map.
        order: Of the numbers.
    """

    def __init__(self, made: Any, spline: SoftQuadratic, order: Sequence[int]) -> None:
        self.made, self.spline, self.order = made, spline, order
        self.masked = len(order) > 1
        self.seen = [Derived(torch.mul) for _ in self._layers()]

    def __call__(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Towards noise: values and log slopes, both ``(B, K)``."""
        return self.spline(x, self._free(x, context))

    def inverse(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Towards data: values ``(B, K)``."""
        if self.masked and keeps() and not draws.unrolled():
            return self._in_rows(z, context)
        x = torch.zeros_like(z)
        for _ in self.order:  # one more number is right after each pass
            x, _ = self.spline.inverse(z, self._free(x, context))
        return x

    def _free(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Free numbers ``(numbers, B, K)`` of the spline, from the values on the data's side."""
        if self.masked:
            raw = self.made.hyper(x if context is None else torch.cat([x, context], -1))
        elif context is not None:
            raw = self.made.hyper(context)
        else:
            raw = torch.cat([*self.made.phi], -1).expand(len(x), -1)
        return raw.unflatten(-1, (len(self.order), -1)).permute(2, 0, 1)

    def _layers(self) -> list[nn.Linear]:
        """The masked layers, in order."""
        parts = self.made.hyper if self.masked else ()
        return [part for part in parts if isinstance(part, zuko.nn.MaskedLinear)]

    def _in_rows(self, z: Tensor, context: Tensor | None) -> Tensor:
        """:meth:`inverse`, the last layer and the spline for one number after the other."""
        layers, count = self._layers(), len(self.order)
        weights = [
            seen(layer.weight, constants=(layer.get_buffer("mask"),))
            for seen, layer in zip(self.seen, layers, strict=True)
        ]
        biases = [layer.bias[:, None] for layer in layers]
        known, given = weights[0].split([count, weights[0].shape[1] - count], 1)
        steer = list(zip(biases[-1].chunk(count), weights[-1].chunk(count), strict=True))
        rows = self.spline.rows(z.t().contiguous())
        with torch.inference_mode(), torch.autocast(z.device.type, enabled=False):
            start = biases[0] if context is None else torch.addmm(biases[0], given, context.t())
            x = torch.zeros_like(rows.x)
            for i in self.order:
                hidden = torch.addmm(start, known, x).relu_()
                for bias, weight in zip(biases[1:-1], weights[1:-1], strict=True):
                    hidden = torch.addmm(bias, weight, hidden).relu_()
                torch.addmm(*steer[i], hidden, out=rows.free)
                x[i] = rows.solve(i)
        return rows.x.t()
