r"""Correlation matrices of weighted columns, of the values themselves or of their ranks.

Spearman's coefficient is Pearson's of ranks; the rank of a weighted event is the weight below it and half of
that at it. A column that never varies has no coefficient with any other: 0 is put in its place, so that a
generator whose column is constant is as far from the truth as one whose column is independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import UserError


def pearson(values: Tensor, weight: Tensor) -> Tensor:
    """Correlation matrix of weighted columns ``(N, n)``, 0 for those that never vary."""
    share = (weight / weight.sum())[:, None]
    centred = (values - (share * values).sum(0)) * share.sqrt()
    scale = centred.norm(dim=0)
    unit = centred / torch.where(scale > 0, scale, torch.ones_like(scale))
    return unit.T @ unit


def spearman(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Rank correlation matrix of columns ``(N, n)``, float64, 0 for those that never vary.

    Args:
        values: The columns.
        weight: Weight of each row ``(N,)``; None: all weigh the same.

    Raises:
        UserError: If a value is not finite, which has no rank.
    """
    table = values.double().cpu()
    if not bool(table.isfinite().all()):
        missing = int((~table.isfinite()).sum())
        raise UserError(f"ranks need finite values, {missing} of {table.numel()} are not")
    numbers = table.numpy()
    if weight is None:
        from scipy.stats import rankdata  # takes longer to import than all else here

        ranks = rankdata(numbers, axis=0)
        centred = ranks - ranks.mean(0)
    else:
        share = (weight / weight.sum()).double().cpu().numpy()
        ranks = np.stack([_ranks(column, share) for column in numbers.T], axis=1)
        centred = (ranks - share @ ranks) * np.sqrt(share)[:, None]
    spread = np.sqrt((centred**2).sum(0))
    constant = numbers.max(0) == numbers.min(0)
    unit = np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))
    return torch.from_numpy(unit.T @ unit)


def _ranks(values: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place = np.unique(values, return_inverse=True)
    held = np.bincount(place, share)
    found: NDArray[np.float64] = (held.cumsum() - held / 2)[place]
    return found


@dataclass(frozen=True)
class Coefficient:
    """Which correlations a figure shows.

    Args:
        name: Whose they are.
        matrix: Makes them of columns ``(N, n)`` and weights ``(N,)``.
        key: The figure of merit that measures the difference of two such matrices.
    """

    name: str
    matrix: Callable[[Tensor, Tensor], Tensor]
    key: str


PEARSON = Coefficient("Pearson", pearson, "correlation")
