r"""Layers scaled to given energies so that no cell falls below the readout threshold.

Of the cells of a layer in descending order, the first ``m`` are kept, the largest ``m`` with
:math:`v_{(m)} E / \sum_{j \le m} v_{(j)} \ge t`; scaled to sum ``E``, all of them are at or above ``t`` and
the sum is exact. A layer asked for less than ``t`` is empty.

Reference: as in convolutional L2LFlows, arXiv:2405.20407.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core import Geometry, draws

FEW = 4
"""Events up to which layers that differ are scaled at once, padded to the largest one."""


def renormalise(cells: Tensor, energy: Tensor, threshold: float) -> Tensor:
    """Scale non-negative ``cells`` ``(..., V)`` to sum to ``energy`` ``(...)`` with none in (0,
    threshold); a layer with a NaN, or whose energy is one, is NaN.
    """
    order = torch.sort(cells, dim=-1, descending=True)
    sums = torch.cumsum(order.values.double(), dim=-1)
    target = energy[..., None].double()
    kept = (
        (order.values > 0)
        & (order.values * target >= threshold * sums)
        & (target >= threshold)
        & (target > 0)
    )
    number = (kept * torch.arange(1, cells.shape[-1] + 1, device=cells.device)).amax(
        -1, keepdim=True
    )
    total = sums.gather(-1, (number - 1).clamp(min=0))
    rank = torch.arange(cells.shape[-1], device=cells.device)
    scaled = torch.where(rank < number, order.values * (target / total.clamp(min=1e-300)), 0.0).to(
        cells.dtype
    )
    if threshold > 0:  # rounding to single precision must not push a cell under the threshold
        scaled = torch.where(scaled <= 0, 0.0, scaled.clamp(min=threshold))
    unknown = (sums[..., -1:] + target).isnan()
    return torch.zeros_like(cells).scatter(-1, order.indices, scaled).masked_fill(unknown, math.nan)


def renormalise_layers(
    cells: Tensor, energies: Tensor, geometry: Geometry, threshold: float
) -> Tensor:
    """:func:`renormalise` in every layer: ``cells`` ``(B, V)``, ``energies`` ``(B, L)``."""
    if geometry.regular:
        return renormalise(cells.unflatten(-1, (len(geometry), -1)), energies, threshold).flatten(
            -2
        )
    if not draws.unrolled() and len(cells) <= FEW:
        padded = renormalise(geometry.pad(cells).flatten(-2), energies, threshold)
        return geometry.unpad(padded.view(-1, *geometry.padded_shape))
    parts = torch.split(cells, list(geometry.sizes), dim=-1)
    done = [renormalise(part, energies[:, i], threshold) for i, part in enumerate(parts)]
    return torch.cat(done, dim=-1)
