r"""Separation power, the triangular discrimination of two histograms (arXiv:2009.03796, equation 15).

.. math:: S = \frac12 \sum_k \frac{(p_k - q_k)^2}{p_k + q_k + 10^{-16}}, \qquad \sum_k p_k = \sum_k q_k = 1

inside the range: 0 for equal, 1 for disjoint histograms.  Values outside the range are dropped and
the rest is normalised again, as in the public evaluation; how many there were is counted.  For two
samples of one distribution :math:`E[S] \approx \frac{K - 1}{4} (1/N + 1/M)` with :math:`K` filled bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from simulacra.metrics.engine.bins import histogram


def separation_of_counts(reference: Tensor, generated: Tensor) -> Tensor:
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
        return separation_of_counts(self.reference[1:-1], self.generated[1:-1])

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
