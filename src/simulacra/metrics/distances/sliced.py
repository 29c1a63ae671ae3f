r"""Distances of one-dimensional projections, sliced W1 and sliced KS (arXiv:2409.16336).

Features of both samples, standardised by the truth, are projected on :math:`K` random directions, the
same for all samples that are compared. The figures are the means over the directions of the exact
Wasserstein distance [standard deviations] and of the distance of Kolmogorov and Smirnov.

The article finds them about as sensitive as FPD and the kernel distance, at a small part of their cost.
Their null comes from toys (:mod:`simulacra.metrics.engine.null`) and the error from a bootstrap of the
events of both samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.metrics.distances.frechet import high_level
from simulacra.metrics.engine.columns import poisson_weights
from simulacra.metrics.engine.null import ToyTest
from simulacra.metrics.engine.score import Figure, Judged, score_constructor
from simulacra.metrics.engine.weighted import UNWEIGHTED, Rows, Weights

NAMES = ("w1", "ks")
REPLICAS = 10
"""Bootstrap replicas behind each error."""
DIRECTIONS = 100
"""Random directions of the published kind of test: 100 to 1000."""


def directions(features: int, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Random directions ``(F, K)``, of length 1."""
    found = torch.randn(features, count, generator=generator, dtype=torch.float64)
    return found / found.norm(dim=0)


def sliced(
    reference: Tensor, generated: Tensor, along: Tensor, weights: Weights = UNWEIGHTED
) -> Tensor:
    """Sliced W1 and KS.

    Args:
        reference: Standardised features of true events ``(N, F)``.
        generated: The same of generated events ``(M, F)``.
        along: Directions ``(F, K)``.
        weights: Weights of the true and of the generated events, or several sets of them ``(R, N)`` and
            ``(R, M)``.

    Returns:
        Both figures ``(2,)`` or ``(R, 2)``.
    """
    union = (torch.cat([reference, generated]).double() @ along).T.contiguous()  # (K, N + M)
    ordered, order = union.sort(1)
    steps = ordered.diff(dim=1)
    apart = steps > 0  # between equal values there is no distance
    signed = torch.cat([
        _shares(len(reference), weights[0]), -_shares(len(generated), weights[1])
    ], -1)  # fmt: skip
    found = []
    for row in signed.reshape(-1, signed.shape[-1]):
        gap = row[order].cumsum(1)[:, :-1].abs_()
        found.append(torch.stack([(gap * steps).sum(1).mean(), (gap * apart).amax(1).mean()]))
    return torch.stack(found).reshape(*signed.shape[:-1], len(NAMES))


@score_constructor
class SlicedScore(ToyTest):
    """``sliced/w1`` and ``sliced/ks`` with z and p from toys of equal size.

    Half of the reference is compared with as many generated events as there are, at most.

    Args:
        features: Features of a sample ``(N, F)``; by default the high-level classifier inputs.
        slices: Number of directions.
        toys: Pairs of true samples behind the null.
        events: True events at most.
    """

    def __init__(
        self,
        features: Callable[[Judged], Tensor] = high_level,
        slices: Count = DIRECTIONS,
        toys: Count = 100,
        events: Count = 5000,
    ) -> None:
        super().__init__(features, ratio=1, toys=toys, events=events)
        self.slices = slices

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """Compare.

        Raises:
            NotRun: With fewer than 50 events, or features that are not finite.
        """
        generator = torch.Generator().manual_seed(seed)
        dealt = self.deal(reference, generated, generator)
        along = directions(dealt.reference.values.shape[1], self.slices, generator)

        def statistic(
            first: Tensor, second: Tensor, weights: Weights, _: torch.Generator
        ) -> Tensor:
            return sliced(first, second, along, weights)

        null = self.null(reference, dealt, statistic, seed)
        values = dealt.observed(statistic, generator)
        errors = _bootstrap(dealt.reference, dealt.generated, along, seed)
        return {
            f"sliced/{name}": self.figure(null[:, i], float(values[i]), float(errors[i]))
            for i, name in enumerate(NAMES)
        }


def _bootstrap(first: Rows, second: Rows, along: Tensor, seed: int) -> Tensor:
    """Errors ``(2,)``: standard deviations over replicas of the events of both samples."""
    weights = [
        poisson_weights(
            torch.ones(len(rows)).double() if rows.weight is None else rows.weight,
            REPLICAS,
            seed + side,
        )
        for side, rows in enumerate((first, second))
    ]
    return sliced(first.values, second.values, along, (weights[0], weights[1])).std(0)


def _shares(n: int, weight: Tensor | None) -> Tensor:
    """Shares of the weight ``(n,)`` or ``(R, n)``."""
    if weight is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    return weight.double() / weight.double().sum(-1, keepdim=True)
