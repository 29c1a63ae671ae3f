r"""Columns that are independent as far as their covariance tells.

A narrow relation of two columns is as wide as all else to a network then. With the mean :math:`\bar y` and
the covariance :math:`C` of rows, :math:`z = (y - \bar y)\, C^{-1/2}`. The way back is exact:
:math:`C^{-1/2}` is symmetric and its eigenvalues are bounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

NARROWEST = 1e-4
"""Smallest eigenvalue of the covariance that is stretched to one; what is narrower stays so."""


def whitening(y: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    r"""Mean ``(D,)``, :math:`C^{-1/2}` and :math:`C^{1/2}` ``(D, D)`` of rows ``(B, D)``.

    Args:
        y: Rows.
        weight: Event weights ``(B,)``, or None.
    """
    own = y.new_ones(len(y)) if weight is None else weight
    share = (own / own.sum()).to(y)
    mean = share @ y
    centred = y - mean
    size, axes = torch.linalg.eigh(centred.T @ (share[:, None] * centred))
    scale = size.clamp_min(NARROWEST).sqrt()
    return mean, (axes / scale) @ axes.T, (axes * scale) @ axes.T
