r"""Normalising flows of sets: every point by itself, given a context of its event.

Each point passes couplings whose elementwise splines are steered by its kept features, by the context and,
in a DeepSet flow, by a permutation-invariant summary of the kept features of all points of the event,

.. math:: s = \rho\Big(\tfrac1N \sum_i \phi(x^{kept}_i)\Big).

The kept features pass unchanged, so the summary is the same in both directions and the inverse is exact.
Given context and summaries the density of a set is a product over points; permuting points permutes the
result.

Reference: Schnake, Krücker, Borras 2024, arXiv:2403.15782, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.dynamics.splines import Spline
from simulacra.nn.deep_sets import DeepSet
from simulacra.nn.mlp import MLP


class SetCoupling(nn.Module):
    """Half of the features of each point steer a monotone map of the others; starts as the identity.

    Args:
        features: ``F``; the first ``ceil(F / 2)`` pass unchanged.
        context: Width of the context, may be 0.
        spline: The elementwise map.
        hidden: Widths of the steering network.
        summary: Widths of the summary's network of points, and of that of their mean; the last is the
            summary's own. None: no summary.
    """

    def __init__(
        self,
        features: int,
        context: int,
        spline: Spline,
        hidden: Sequence[int],
        summary: tuple[Sequence[int], Sequence[int]] | None,
    ) -> None:
        super().__init__()
        self.kept, self.moved = features - features // 2, features // 2
        self.spline = spline
        self.set = None if summary is None else DeepSet(self.kept, *summary)
        width = context + (0 if summary is None else summary[1][-1])
        self.point = nn.Linear(self.kept, hidden[0])
        self.event = nn.Linear(width, hidden[0], bias=False) if width else None
        self.net = MLP(hidden[0], spline.numbers * self.moved, hidden[1:], zero_init=True)

    def forward(
        self, x: Tensor, mask: Tensor, context: Tensor | None, back: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Points ``(B, N, F)`` towards noise, or ``back`` to data, and log-determinants ``(B, N)``."""
        kept, moved = x.split([self.kept, self.moved], dim=-1)
        free = self.net(nn.functional.silu(self._first(kept, mask, context)))  # (B, N, n D)
        numbers = free.flatten(0, 1).unflatten(1, (self.spline.numbers, self.moved)).movedim(1, 0)
        spline = self.spline.inverse if back else self.spline
        made, log_slope = spline(moved.flatten(0, 1), numbers)
        shaped = made.view_as(moved)
        return torch.cat([kept, shaped], -1), log_slope.sum(-1).view(mask.shape)

    def _first(self, kept: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """First layer of the steering network; the part of the event once for all of its points."""
        summary = None if self.set is None else self.set(kept, mask)
        parts = [part for part in (context, summary) if part is not None]
        first: Tensor = self.point(kept)
        if self.event is None:
            return first
        return first + self.event(torch.cat(parts, 1))[:, None]


@constructor
class SetFlow(nn.Module):
    """Couplings between which the halves of the features swap.

    Args:
        features: ``F``.
        context: Width of the context, may be 0.
        blocks: Number of couplings.
        spline: The elementwise map.
        hidden: Widths of each steering network.
        summary: See :class:`SetCoupling`.
    """

    def __init__(
        self,
        features: int,
        context: int,
        blocks: Count,
        spline: Spline,
        hidden: Sequence[Count],
        summary: tuple[Sequence[Count], Sequence[Count]] | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.couplings = nn.ModuleList(
            SetCoupling(features, context, spline, hidden, summary) for _ in range(blocks)
        )
        generator = torch.Generator().manual_seed(0)
        self.orders = [
            torch.roll(torch.arange(features, device="cpu"), features // 2)
            if block % 2
            else torch.randperm(features, generator=generator, device="cpu")
            for block in range(blocks)
        ]

    def log_prob(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Log density ``(B, N)`` of each point of ``(B, N, F)``, 0 where the mask is False."""
        total = x.new_zeros(mask.shape)
        for order, coupling in zip(self.orders, self.couplings, strict=True):
            x, log_det = coupling(x[..., order], mask, context)
            total = total + log_det
        normal = -0.5 * (x.square() + math.log(2 * math.pi)).sum(-1)
        return torch.where(mask, total + normal, 0.0)

    def inverse(self, z: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)`` of noise, 0 where the mask is False."""
        for order, coupling in zip(reversed(self.orders), reversed(self.couplings), strict=True):  # type: ignore[call-overload]
            z, _ = coupling(z, mask, context, back=True)
            z = z[..., order.argsort()]
        return torch.where(mask[..., None], z, 0.0)
