r"""Separation power, the triangular discrimination of two histograms (arXiv:2009.03796, equation 15).

.. math:: S = \frac12 \sum_k \frac{(p_k - q_k)^2}{p_k + q_k + 10^{-16}}, \qquad \sum_k p_k = \sum_k q_k = 1

inside the range: 0 for equal, 1 for disjoint histograms.  Values outside the range are dropped and
the rest is normalised again, as in the public evaluation; how many there were is counted.  For two
samples of one distribution :math:`E[S] \approx \frac{K - 1}{4} (1/N + 1/M)` with :math:`K` filled bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from simulacra.physics.base import Axis


def resolve(axis: Axis, truth: Tensor) -> Tensor:
    """Bin edges ``(bins + 1,)``, float64; ends that the axis leaves open come from the finite truth ``(n,)``.

    An open range spans the truth from its 0.1 % to its 99.9 % quantile, widened by a twentieth (in
    logarithmic axes from the smallest to the largest value, as in the CaloChallenge).  Few events
    fill fewer bins: where both ends are open, at most ``2 n^(1/3)`` (Rice's rule), at least 10.  If
    the truth holds few whole numbers only, bins are centred on them.
    """
    values = truth[truth > 0] if axis.log else truth
    if axis.low is not None and axis.high is not None:
        low, high = axis.low, axis.high
    elif not len(values):
        low, high = (axis.low or (1e-3 if axis.log else 0.0)), 1.0
    elif axis.log:
        low = float(values.min()) if axis.low is None else axis.low
        high = float(values.max()) if axis.high is None else axis.high
    else:
        whole = _whole(values, axis)
        if whole is not None:
            return whole
        low, high = _quantiles(values)
        margin = (high - low) / 20
        low = low - margin if axis.low is None else axis.low
        high = high + margin if axis.high is None else axis.high
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # a constant observable
        low, high = (low, low * 10) if axis.log else (low - 0.5, low + 0.5)
    bins = _bins(axis, len(values))
    if axis.log:
        return torch.logspace(math.log10(low), math.log10(high), bins + 1, dtype=torch.float64)
    return torch.linspace(low, high, bins + 1, dtype=torch.float64)


def _bins(axis: Axis, n: int) -> int:
    if axis.low is not None or axis.high is not None:
        return axis.bins
    return min(axis.bins, max(10, round(2 * n ** (1 / 3))))


def _quantiles(values: Tensor) -> tuple[float, float]:
    ordered = values.sort().values
    cut = len(ordered) // 1000
    return float(ordered[cut]), float(ordered[len(ordered) - 1 - cut])


def _whole(values: Tensor, axis: Axis) -> Tensor | None:
    low, high = _quantiles(values)
    if axis.low is not None or axis.high is not None or not bool((values == values.round()).all()):
        return None
    step = max(1, -(-int(high - low + 1) // _bins(axis, len(values))))
    count = -(-int(high - low + 1) // step)
    return low - 0.5 + step * torch.arange(count + 1, dtype=torch.float64)


def histogram(values: Tensor, edges: Tensor, weight: Tensor | None = None) -> Tensor:
    """Counts ``(bins + 2,)`` with under- and overflow at the ends; the last edge belongs to the last bin."""
    index = bin_index(values, edges)
    weight = None if weight is None else weight.double()
    return torch.bincount(index, weights=weight, minlength=len(edges) + 1).double()


def bin_index(values: Tensor, edges: Tensor) -> Tensor:
    """Bin of each value: 0 underflow, ``1 ... bins``, ``bins + 1`` overflow."""
    index = torch.bucketize(values.double(), edges, right=True)
    return torch.where(values.double() == edges[-1], torch.full_like(index, len(edges) - 1), index)


def separation(reference: Tensor, generated: Tensor) -> Tensor:
    """Separation power of counts ``(..., bins)`` inside the range; NaN where either is empty."""
    p = reference / reference.sum(-1, keepdim=True)
    q = generated / generated.sum(-1, keepdim=True)
    return 0.5 * ((p - q).square() / (p + q + 1e-16)).sum(-1)


class SeparationPower(Metric):
    """Separation power of one observable over batches and ranks, from summed histograms.

    Args:
        edges: Bin edges ``(bins + 1,)``.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    reference: Tensor
    generated: Tensor
    undefined: Tensor

    def __init__(self, edges: Tensor | Sequence[float]) -> None:
        super().__init__()
        self.edges = torch.as_tensor(edges, dtype=torch.float64)
        counts = torch.zeros(len(self.edges) + 1, dtype=torch.float64)
        self.add_state("reference", counts.clone(), dist_reduce_fx="sum")
        self.add_state("generated", counts.clone(), dist_reduce_fx="sum")
        self.add_state("undefined", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, reference: Tensor, generated: Tensor) -> None:
        """Add values ``(n,)`` and ``(m,)``; NaN and infinities are counted, not binned."""
        for number, (state, values) in enumerate(
            ((self.reference, reference), (self.generated, generated))
        ):
            finite = torch.isfinite(values)
            state += histogram(values[finite].cpu(), self.edges).to(state)
            self.undefined[number] += (~finite).sum()

    def compute(self) -> Tensor:
        """The separation power inside the range."""
        return separation(self.reference[1:-1], self.generated[1:-1])

    def outside(self) -> dict[str, float]:
        """Fractions of under- and overflow and counts of undefined values, of reference and
        generated values.
        """
        found = {}
        for number, (name, counts) in enumerate(
            (("reference", self.reference), ("generated", self.generated))
        ):
            total = float(counts.sum())
            found[f"{name}/underflow"] = float(counts[0]) / total if total else 0.0
            found[f"{name}/overflow"] = float(counts[-1]) / total if total else 0.0
            found[f"{name}/undefined"] = float(self.undefined[number])
        return found
