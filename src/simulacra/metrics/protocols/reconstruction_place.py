r"""Where a shower is and where it points.

With a weight :math:`w_i` of each deposit the place is the barycentre :math:`\sum w_i x_i / \sum w_i` across
the shower, and the direction the principal axis, the eigenvector of the largest eigenvalue of the covariance
:math:`\sum w_i (x_i - \bar x)(x_i - \bar x)^T / \sum w_i` of all three coordinates, of which the angles to
the normal of the layers along both axes are taken. Weights are energies, or with a number :math:`w_0` their
logarithms :math:`\max(0, w_0 + \ln (e_i / \sum e))` (Awes et al., NIM A 311 (1992) 130).

All showers of a data set enter at one place in one direction, so that the resolution is the width over
showers: the standard deviation in the shortest interval with :data:`CORE` of them
(:func:`~simulacra.metrics.engine.response.peak`). An offset is that of the median.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.metrics.engine.response import peak
from simulacra.metrics.engine.weighted import quantiles, unequal
from simulacra.physics.deposits import Deposits

CORE = 0.9
"""Share of the showers in the interval that a width comes from."""
MILLI = 1e3
"""Milliradians per radian."""


def placed(deposits: Deposits, log_weight: float | None = None) -> Tensor:
    """Barycentre [mm] and angles of the principal axis [mrad] along both axes ``(B, 4)``; NaN without energy,
    angles also where all of it lies in one point.

    Args:
        deposits: Showers.
        log_weight: :math:`w_0`, or None for weights that are energies.
    """
    weight = deposits.energy
    if log_weight is not None:
        share = weight / deposits.sums(weight)[deposits.event]
        weight = (log_weight + share.log()).clamp(min=0)
    total = deposits.sums(weight)
    at = torch.cat([deposits.place, deposits.depths[deposits.layer, None]], 1)  # (n, 3)
    middle = torch.stack([deposits.sums(weight * column) for column in at.T], 1) / total[:, None]
    off = at - middle[deposits.event]
    covariance = torch.stack(
        [deposits.sums(weight * off[:, i] * off[:, j]) for i in range(3) for j in range(3)], 1
    )
    spread = (covariance / total[:, None]).view(-1, 3, 3)
    known = spread.isfinite().flatten(1).all(1) & (spread.flatten(1).abs().amax(1) > 0)
    axis = torch.linalg.eigh(torch.where(known[:, None, None], spread, 0.0)).eigenvectors[..., -1]
    axis = torch.where(axis[:, 2:] < 0, -axis, axis)
    angles = MILLI * torch.atan2(axis[:, :2], axis[:, 2:])
    angles = torch.where(known[:, None], angles, torch.nan)
    return torch.cat([middle[:, :2], angles], 1)


def widths(values: Tensor, weights: Tensor) -> Tensor:
    """Width of the core of a sample and of each replica ``(1 + R,)``.

    Args:
        values: One per shower ``(N,)``; NaN is left out, and all is NaN where nothing else is left.
        weights: Weights in the sample and in each replica ``(1 + R, N)``.
    """
    return _each(values, weights, lambda kept, weight: peak(kept, CORE, unequal(weight)).width)


def medians(values: Tensor, weights: Tensor) -> Tensor:
    """As :func:`widths`, the medians."""
    return _each(values, weights, lambda kept, weight: float(quantiles(kept, [0.5], weight)))


def _each(values: Tensor, weights: Tensor, number: Callable[[Tensor, Tensor], float]) -> Tensor:
    known = values.isfinite()
    found = torch.full((len(weights),), torch.nan, dtype=torch.float64)
    for row, weight in enumerate(weights[:, known] if bool(known.any()) else ()):
        some = weight > 0
        if bool(some.any()):
            found[row] = number(values[known][some], weight[some])
    return found
