r"""Unfolding of one histogram, by iteration of Bayes' theorem or by correction factors.

Of events with both levels, weighted, the response is the share of true bin :math:`i` that is seen in bin
:math:`j`, :math:`R_{ji}`; its sum over :math:`j` is the efficiency :math:`\epsilon_i`. From what is measured,
:math:`m_j`, less the share of bin :math:`j` that is fake, and any spectrum :math:`p_i` to begin with,

.. math:: p_i' = \frac{p_i}{\epsilon_i} \sum_j R_{ji} \frac{m_j}{\sum_k R_{jk} p_k}.

Correction factors are the ratios of the true to the seen content of each bin in the simulation. Neither takes
a decomposition of the response.

References: D'Agostini 1995, doi:10.1016/0168-9002(95)00274-X; the same iteration is that of Richardson and
Lucy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.weighted import quantiles


@dataclass(frozen=True)
class Response:
    """What a simulation says of bins at both levels.

    Args:
        matrix: ``R``, ``(J, I)``.
        prior: True content of the simulation ``(I,)``.
        seen: Its content at detector level, fakes included ``(J,)``.
        fake: Share of fakes at detector level ``(J,)``.
    """

    matrix: Tensor
    prior: Tensor
    seen: Tensor
    fake: Tensor

    @classmethod
    def of(
        cls,
        true: Tensor,
        found: Tensor,
        bins: tuple[int, int],
        weight: Tensor | None = None,
        genuine: Tensor | None = None,
        detected: Tensor | None = None,
    ) -> Response:
        """From the bins of events.

        Args:
            true: Bin at particle level, int64 ``(N,)``; any where there is none.
            found: Bin at detector level ``(N,)``.
            bins: Numbers of bins ``I`` and ``J``.
            weight: Event weights ``(N,)``, or None.
            genuine: Which events have a particle level, bool ``(N,)``; None: all.
            detected: Which have a detector level; None: all.
        """
        w = torch.ones(len(true)) if weight is None else weight
        w = w.double()
        real = torch.ones(len(true), dtype=torch.bool) if genuine is None else genuine
        there = torch.ones(len(true), dtype=torch.bool) if detected is None else detected
        both = real & there
        joint = content(found[both] * bins[0] + true[both], bins[0] * bins[1], w[both])
        joint = joint.reshape(bins[1], bins[0])
        prior = content(true[real], bins[0], w[real])
        seen = content(found[there], bins[1], w[there])
        return cls(
            joint / prior.clamp_min(torch.finfo(prior.dtype).tiny), prior, seen,
            1 - joint.sum(1) / seen.clamp_min(torch.finfo(seen.dtype).tiny),
        )  # fmt: skip

    def iterated(self, measured: Tensor, iterations: int) -> list[Tensor]:
        """Unfolded contents ``(I,)`` after each iteration, from the prior of the simulation.

        Args:
            measured: Contents at detector level ``(J,)``, fakes included.
            iterations: How many, at least one.

        Raises:
            UserError: If there are none.
        """
        if iterations < 1:
            raise UserError(f"an iteration takes at least one step, got {iterations}")
        m = measured.double() * (1 - self.fake)
        efficiency = self.matrix.sum(0)
        spectrum = self.prior * (m.sum() / (self.matrix @ self.prior).sum())
        found = []
        for _ in range(iterations):
            folded = self.matrix @ spectrum
            ratio = torch.where(folded > 0, m / folded, 0.0)
            spectrum = torch.where(
                efficiency > 0, spectrum * (self.matrix.T @ ratio) / efficiency, 0.0
            )
            found.append(spectrum)
        return found

    def corrected(self, measured: Tensor) -> Tensor:
        """Contents ``(I,)`` by correction factors.

        Raises:
            UserError: If both levels have not the same bins.
        """
        if self.matrix.shape[0] != self.matrix.shape[1]:
            raise UserError(
                f"correction factors need the same bins at both levels, got {tuple(self.matrix.shape)}"
            )
        return torch.where(self.seen > 0, measured.double() * self.prior / self.seen, 0.0)


def edges(values: Tensor, bins: int, weight: Tensor | None = None) -> Tensor:
    """Inner edges of bins of equal content, fewer where values repeat, float64.

    Args:
        values: Values ``(N,)``; those that are not finite are left out.
        bins: Number of bins, at most.
        weight: Event weights ``(N,)``, or None.
    """
    finite = torch.isfinite(values)
    own = torch.ones(len(values)) if weight is None else weight
    levels = [k / bins for k in range(1, bins)]
    return quantiles(values[finite], levels, own.double()[finite]).unique()


def place(values: Tensor, inner: Tensor) -> Tensor:
    """Bin of each value, int64 ``(N,)``; those that are not defined have one of their own, the last."""
    bins = torch.searchsorted(inner, values.double().contiguous(), right=True)
    return torch.where(torch.isfinite(values), bins, len(inner) + 1)


def content(bins: Tensor, n: int, weight: Tensor) -> Tensor:
    """Weight in each of ``n`` bins, float64."""
    return torch.bincount(bins, weight.double(), minlength=n)
