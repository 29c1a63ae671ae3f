r"""Exact one-dimensional Wasserstein-1 distance of weighted samples.

With the empirical distribution functions :math:`F` and :math:`G` and the sorted union :math:`z_1
\le \dots \le z_n` of both samples,

.. math:: W_1 = \int |F(z) - G(z)|\,dz = \sum_{i<n} |F(z_i) - G(z_i)|\,(z_{i+1} - z_i).

Replicas for errors reweight whole events (Poisson bootstrap), which keeps values of one event together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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
    shared = Union.of(reference, generated)
    first = _weights(reference, reference_weight)
    second = _weights(generated, generated_weight)
    replicas = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    first = first.expand(*replicas, len(reference)).reshape(-1, len(reference))
    second = second.expand(*replicas, len(generated)).reshape(-1, len(generated))
    values = [shared.distance(p, q) for p, q in zip(first, second, strict=True)]
    return torch.stack(values).reshape(replicas)


@dataclass(frozen=True)
class Union:
    """The sorted union of two samples of values, sorted once for many sets of event weights.

    Args:
        owner: Event of each value in order, those of the second sample counted behind all of the first,
            int32 ``(n,)``.
        steps: Distances between neighbouring values ``(n - 1,)``, float64.
        held: How many values each event of the first and of the second sample holds, float64 ``(N,)`` and
            ``(M,)``; None: each holds one.
    """

    owner: Tensor
    steps: Tensor
    held: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(
        cls,
        reference: Tensor,
        generated: Tensor,
        events: tuple[Tensor, Tensor] | None = None,
        sizes: tuple[int, int] = (0, 0),
    ) -> Union:
        """The union of finite values ``(n,)`` and ``(m,)``.

        Args:
            reference: Values of the first sample.
            generated: Values of the second.
            events: Event of each value, int64 ``(n,)`` and ``(m,)``; None: each value is one.
            sizes: Numbers of events, where ``events`` are given.
        """
        values = torch.cat([reference, generated])
        if events is None:
            return cls(*_in_order(values, torch.arange(len(values))))
        owner = torch.cat([events[0], events[1] + sizes[0]])
        first, second = (
            torch.bincount(event, minlength=size).double()
            for event, size in zip(events, sizes, strict=True)
        )
        return cls(*_in_order(values, owner), (first, second))

    def distance(self, reference_weight: Tensor, generated_weight: Tensor) -> Tensor:
        """W1 for one set of weights of the events ``(N,)`` and ``(M,)``."""
        p, q = reference_weight, generated_weight
        first, second = (
            (p.sum(), q.sum()) if self.held is None else (p @ self.held[0], q @ self.held[1])
        )
        shares = torch.cat([p / first, q / -second]).index_select(0, self.owner)
        return shares.cumsum(0)[:-1].abs_() @ self.steps


def _in_order(values: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Owners ``(n,)``, int32, of finite values ``(n,)`` in the order of these, and the steps between them.

    Sorting moves numbers of 64 bits faster than it follows positions: of 32-bit values each stands for value
    and owner, with the bits of negative values turned so that whole numbers have the order of the values.
    """
    found, owners = values.detach().cpu().numpy(), owner.numpy()
    if found.dtype != np.float32:
        order = np.argsort(found)
        ordered, owners = found[order].astype(np.float64), owners[order]
    else:
        keys = _turned(found.view(np.int32)).astype(np.int64)
        keys <<= 32
        keys |= owners
        keys.sort()
        ordered = _turned((keys >> 32).astype(np.int32)).view(np.float32).astype(np.float64)
        owners = keys & 0xFFFFFFFF
    return torch.from_numpy(owners.astype(np.int32)), torch.from_numpy(np.diff(ordered))


def _turned(bits: NDArray[np.int32]) -> NDArray[np.int32]:
    """Floating point as whole numbers of the same order, and back."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


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
