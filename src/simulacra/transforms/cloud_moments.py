r"""Energy-weighted moments of a cloud, and the cloud with given ones.

With weights :math:`w_i = e_i / S` and :math:`S = \sum_i e_i`, the moments of an event are :math:`S`,
the centres :math:`\bar x = \sum_i w_i x_i` and the widths
:math:`\sigma = (\sum_i w_i (x_i - \bar x)^2)^{1/2}` of the first features, the transverse coordinates.
For a jet of massless particles these fix the mass:
:math:`m = S \sqrt{\sigma_\eta^2 + \sigma_\phi^2}` to lowest order in the angles.
"""

from __future__ import annotations

import torch
from torch import Tensor


def moments(x: Tensor, energy: int, leading: int) -> Tensor:
    """Sum, centres and widths: ``(B, N, F)`` to ``(B, 1 + 2 K)``; all are 0 for an event without energy.

    Args:
        x: Points, exactly 0 where padded.
        energy: Column of the energy.
        leading: ``K``, the first ``K`` features have centres and widths.
    """
    weight, total = _weights(x, energy)
    centre, width = _centre_and_width(x[..., :leading], weight)
    return torch.cat([total, centre[:, 0], width[:, 0]], 1)


def with_moments(x: Tensor, mask: Tensor, wanted: Tensor, energy: int, fixed: Tensor) -> Tensor:
    """The cloud whose moments are ``wanted``: energies scaled, leading features moved and stretched.

    Args:
        x: Points ``(B, N, F)``, 0 where padded.
        mask: Real points ``(B, N)``.
        wanted: Moments ``(B, 1 + 2 K)``.
        energy: Column of the energy.
        fixed: Features that stay as they are, bool ``(F,)``.

    Returns:
        ``(B, N, F)``; where all points lie on one spot, they are moved but not stretched.
    """
    leading = (wanted.shape[1] - 1) // 2
    total, centre, width = wanted.split([1, leading, leading], 1)
    weight, old_total = _weights(x, energy)
    old_centre, old_width = _centre_and_width(x[..., :leading], weight)
    stretch = torch.where(old_width > 0, width[:, None] / old_width.clamp_min(1e-12), 1.0)
    moved = centre[:, None] + (x[..., :leading] - old_centre) * stretch
    factor = torch.where(old_total > 0, total / old_total.clamp_min(1e-30), 1.0)
    made = torch.cat([moved, x[..., leading:]], -1)
    column = torch.arange(x.shape[-1], device=x.device) == energy
    made = torch.where(column, x * factor[:, None], made)
    return torch.where(mask[..., None] & ~fixed, made, x)


def _weights(x: Tensor, energy: int) -> tuple[Tensor, Tensor]:
    """Weights ``(B, N, 1)`` that add up to one, and the sum ``(B, 1)``."""
    value = x[..., energy]
    total = value.sum(1, keepdim=True)
    return (value / torch.where(total > 0, total, 1.0))[..., None], total


def _centre_and_width(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each ``(B, 1, K)``."""
    centre = (weight * x).sum(1, keepdim=True)
    variance = (weight * (x - centre).square()).sum(1, keepdim=True)
    return centre, variance.clamp_min(0).sqrt()
