r"""Areas under ROC curves of several scores of the same events, with their errors and those of differences.

With scores :math:`x_i` of signal of weights :math:`a_i` and :math:`y_j` of background of weights :math:`b_j`,

.. math:: A = \frac{\sum_{ij} a_i b_j\, \psi(x_i, y_j)}{\sum_i a_i \sum_j b_j}, \qquad
          \psi = \begin{cases} 1 & x > y \\ 1/2 & x = y \\ 0 & x < y \end{cases}

is a mean over either sample of what one event of it is worth against the other sample. The covariance of the
areas of two scores is that of these two means, so that what both scores have in common, the fluctuation of
the events that they look at, drops out of the error of their difference.

References: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837; by ranks in n ln n steps as in Sun
    and Xu, IEEE Signal Process. Lett. 21 (2014) 1389. Event weights are our addition: both means are
    weighted, and their variances are those of weighted means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError


@dataclass(frozen=True)
class Areas:
    """Areas under the ROC curves of ``K`` scores of the same events.

    Args:
        auc: The areas ``(K,)``, NaN where a score is.
        covariance: Of the areas ``(K, K)``.
    """

    auc: Tensor
    covariance: Tensor

    @property
    def error(self) -> Tensor:
        """Standard errors ``(K,)``."""
        return self.covariance.diagonal().clamp_min(0).sqrt()

    def difference(self, first: int, second: int) -> tuple[float, float]:
        """Area of the first score minus that of the second, and the error of this difference."""
        own = self.covariance
        variance = own[first, first] + own[second, second] - 2 * own[first, second]
        value = float(self.auc[first] - self.auc[second])
        return value, math.nan if math.isnan(value) else math.sqrt(max(0.0, float(variance)))


def areas(
    signal: Tensor,
    background: Tensor,
    signal_weight: Tensor | None = None,
    background_weight: Tensor | None = None,
) -> Areas:
    """Areas under ROC curves.

    Args:
        signal: Scores of signal events ``(K, N)``, larger ones for what looks like signal.
        background: Scores of background events ``(K, M)``.
        signal_weight: Event weights ``(N,)``, or None.
        background_weight: Event weights ``(M,)``, or None.

    Raises:
        UserError: With fewer than two events in a sample, or without weight in one.
    """
    sides = [value.double() for value in (signal, background)]
    weights = [
        torch.ones(side.shape[1], dtype=torch.float64) if weight is None else weight.double()
        for side, weight in zip(sides, (signal_weight, background_weight), strict=True)
    ]
    if min(side.shape[1] for side in sides) < 2 or min(float(w.sum()) for w in weights) <= 0:
        raise UserError(
            "an area under a ROC curve needs at least two events of either kind and weights above 0, got "
            f"{sides[0].shape[1]} and {sides[1].shape[1]} events"
        )
    worth = [
        torch.stack([_below(x, y, weights[1]) for x, y in zip(*sides, strict=True)]),
        torch.stack([1 - _below(y, x, weights[0]) for x, y in zip(*sides, strict=True)]),
    ]
    share = [weight / weight.sum() for weight in weights]
    auc = worth[0] @ share[0]
    covariance = torch.zeros(len(auc), len(auc), dtype=torch.float64)
    for value, part in zip(worth, share, strict=True):
        centred = (value - auc[:, None]) * part
        covariance += centred @ centred.T * (len(part) / (len(part) - 1))
    return Areas(auc, covariance)


def _below(values: Tensor, others: Tensor, weight: Tensor) -> Tensor:
    """Share of the weight of ``others`` ``(M,)`` below each of ``values`` ``(N,)``, of equal ones half of it;
    NaN where one is.
    """
    if bool(values.isnan().any() | others.isnan().any()):
        return torch.full_like(values, math.nan)
    ordered, order = others.sort()
    reach = torch.cat([weight.new_zeros(1), weight[order].cumsum(0)])
    low, high = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (reach[low] + reach[high]) / (2 * reach[-1])
