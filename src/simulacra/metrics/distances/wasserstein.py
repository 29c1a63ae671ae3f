r"""Exact one-dimensional Wasserstein-1 distance of weighted samples.

With the empirical distribution functions :math:`F` and :math:`G` and the sorted union :math:`z_1
\le \dots \le z_n` of both samples,

.. math:: W_1 = \int |F(z) - G(z)|\,dz = \sum_{i<n} |F(z_i) - G(z_i)|\,(z_{i+1} - z_i).

Replicas for errors reweight whole events (Poisson bootstrap), which keeps values of one event together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.metrics.engine.score import TwoSampleMetric


def wasserstein(
    reference: Tensor,
    generated: Tensor,
    reference_weight: Tensor | None = None,
    generated_weight: Tensor | None = None,
) -> Tensor:
    """W1 in the unit of the values.

    Args:
        reference: Values ``(N,)``, finite.
        generated: Values ``(M,)``, finite.
        reference_weight: Weights ``(N,)`` or several sets of them ``(R, N)``; equal if None.
        generated_weight: The same for the generated values.

    Returns:
        A scalar, or ``(R,)`` for several sets of weights; NaN where a sample is empty.
    """
    if not len(reference) or not len(generated):
        shape = next(
            (w.shape[:-1] for w in (reference_weight, generated_weight) if w is not None),
            torch.Size(),
        )
        return torch.full(shape, torch.nan, dtype=torch.float64)
    order, steps = union(reference, generated)
    first = _weights(reference, reference_weight)
    second = _weights(generated, generated_weight)
    replicas = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    first = first.expand(*replicas, len(reference)).reshape(-1, len(reference))
    second = second.expand(*replicas, len(generated)).reshape(-1, len(generated))
    values = [distance(p, q, order, steps) for p, q in zip(first, second, strict=True)]
    return torch.stack(values).reshape(replicas)


def union(reference: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    """Order of the sorted union ``(N + M,)`` and its steps ``(N + M - 1,)``, to be shared by replicas."""
    ordered, order = torch.cat([reference, generated]).double().sort()
    return order, ordered.diff()


def distance(
    reference_weight: Tensor, generated_weight: Tensor, order: Tensor, steps: Tensor
) -> Tensor:
    """W1 for one set of weights ``(N,)`` and ``(M,)`` on a :func:`union`."""
    p, q = reference_weight / reference_weight.sum(), generated_weight / generated_weight.sum()
    return torch.cat([p, -q])[order].cumsum(0)[:-1].abs() @ steps


def _weights(values: Tensor, weight: Tensor | None) -> Tensor:
    return torch.ones(len(values), dtype=torch.float64) if weight is None else weight.double()


class Wasserstein(TwoSampleMetric):
    """Exact W1 of one observable over batches and ranks.

    Note:
        The exact distance needs every value, so the states are lists that are gathered, not summed.
    """

    def update(self, reference: Tensor, generated: Tensor) -> None:
        """Add values ``(n,)`` and ``(m,)``; those that are not finite are left out."""
        finite = (values[torch.isfinite(values)].double() for values in (reference, generated))
        super().update(*finite)

    def compute(self) -> Tensor:
        """The distance."""
        return wasserstein(*self.rows())
