r"""Sums over weighted events, as figures need them.

An event of weight :math:`w` stands for :math:`w` equal events, in units that do not matter: figures depend on
:math:`w_i / \sum_j w_j` alone. Where an error needs a number of events, it is the effective one,

.. math:: n = \frac{(\sum_i w_i)^2}{\sum_i w_i^2}.

Functions take weights ``(N,)`` or None, which means that all events weigh the same: figures of unweighted
events are computed as they always were, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Weight = Tensor | None
"""Weights of events ``(N,)``, or None where all weigh the same."""
Weights = tuple[Weight, Weight]
"""Those of the reference and of the generated events."""
UNWEIGHTED: Weights = (None, None)


@dataclass(frozen=True)
class Rows:
    """Numbers of some events with their weights.

    Args:
        values: ``(n, F)``.
        weight: Weights ``(n,)``, or None.
    """

    values: Tensor
    weight: Weight = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor) -> Rows:
        return Rows(self.values[index], part(self.weight, index))

    def columns(self, index: Tensor) -> Rows:
        """Some of the numbers."""
        return Rows(self.values[:, index], self.weight)

    @property
    def worth(self) -> float:
        """Effective number of events."""
        return worth(len(self), self.weight)


def unequal(weight: Tensor) -> Weight:
    """Weights ``(N,)`` in float64, or None where all are equal."""
    return None if not len(weight) or bool((weight == weight[0]).all()) else weight.double()


def effective(weight: Tensor) -> float:
    """Effective number of events; of weights in a row, 0 for none."""
    weight = weight.double()
    squares = float(weight.square().sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def worth(n: int, weight: Weight) -> float:
    """Effective number of ``n`` events."""
    return float(n) if weight is None else effective(weight)


def part(weight: Weight, index: Tensor | slice) -> Weight:
    """Weights of some of the events."""
    return None if weight is None else weight[index]


def mean(values: Tensor, weight: Weight) -> Tensor:
    """Mean ``(*,)`` of ``(N, *)`` over the events."""
    if weight is None:
        return values.mean(0)
    return torch.tensordot(weight.to(values) / weight.sum(), values, dims=([0], [0]))


def deviation(values: Tensor, weight: Weight) -> Tensor:
    """Population standard deviation ``(*,)`` of ``(N, *)`` over the events."""
    if weight is None:
        return values.std(0, unbiased=False)
    return mean((values - mean(values, weight)).square(), weight).sqrt()


def sample_deviation(values: Tensor, weight: Weight) -> Tensor:
    """Standard deviation of ``(N,)`` that does not shrink with few events: ``n`` is the effective number."""
    if weight is None:
        return values.std()
    n = effective(weight)
    return deviation(values, weight) * (n / (n - 1)) ** 0.5


def moments(values: Tensor, weight: Weight) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean ``(F,)`` and unbiased covariance ``(F, F)`` of ``(N, F)``, float64."""
    rows = values.double()
    covariance = rows.T.cov(aweights=None if weight is None else weight.to(rows))
    return mean(rows, weight).numpy(), covariance.reshape(rows.shape[1], -1).numpy()


def quantiles(values: Tensor, levels: Sequence[float], weight: Tensor) -> Tensor:
    """Smallest values, float64, up to which more than a share ``levels`` of the weight lies."""
    ordered, order = values.double().sort()
    reached = weight[order].cumsum(0)
    wanted = torch.tensor(levels, dtype=torch.float64) * reached[-1]
    return ordered[torch.searchsorted(reached, wanted, right=True).clamp(max=len(ordered) - 1)]


def probabilities(weight: Weight) -> NDArray[np.float64] | None:
    """Shares of the weight, for draws with replacement; None where all events are drawn alike."""
    return None if weight is None else (weight / weight.sum()).numpy()


def balanced(sizes: Sequence[int], weights: Sequence[Weight]) -> list[Tensor] | None:
    """Weights of several samples that give each the same sum, with mean 1 over all; None where in each sample
    all events weigh the same.
    """
    if all(weight is None for weight in weights):
        return None
    rows = [
        torch.ones(n, dtype=torch.float64) if weight is None else weight
        for n, weight in zip(sizes, weights, strict=True)
    ]
    return [row * (sum(sizes) / len(sizes) / row.sum()) for row in rows]
