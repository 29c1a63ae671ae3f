r"""Simple random showers for toy files: the right look at no cost, and no simulation behind them.

The mean longitudinal profile is a gamma density in depth, the lateral one falls exponentially,

.. math:: \bar e_v = E \; f_\Gamma(t_v; \alpha(E)) \; e^{-r_v / \lambda} A_v,

normalised over all cells; each cell is hit with probability :math:`p = 1 - e^{-\bar e_v /
\epsilon}`, and its energy fluctuates exponentially about :math:`\bar e_v / p`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core import Geometry, Layer

_RESPONSE, _STOCHASTIC = 0.95, 0.15  # visible fraction, and resolution at 1 GeV


def mean_profile(geometry: Geometry, energy: Tensor) -> Tensor:
    """Mean share of each cell, summing to 1: energies ``(n,)`` [GeV] to ``(n, V)``."""
    t = (torch.arange(len(geometry)) + 0.5) * 25.0 / len(geometry)  # radiation lengths
    shape = 1 + 0.5 * (torch.log(energy.clamp_min(0.1) / 0.008) + 0.5)
    along = torch.exp((shape[:, None] - 1) * torch.log(0.5 * t) - 0.5 * t)  # (n, L)
    weight = torch.cat([_lateral(layer) for layer in geometry.layers])  # (V,)
    profile = geometry.spread(along) * weight
    return profile / profile.sum(-1, keepdim=True)


def grid_showers(
    geometry: Geometry, energy: Tensor, visible: float, threshold: float, generator: torch.Generator
) -> Tensor:
    """Showers ``(n, V)`` in the unit of ``visible``, the signal that 1 GeV gives; energies ``(n,)`` [GeV]."""
    spread = 1 + _STOCHASTIC / energy.sqrt() * torch.randn(len(energy), generator=generator).clamp(
        -3, 3
    )
    mean = (
        mean_profile(geometry, energy)
        * (energy * spread.clamp_min(0.1) * visible * _RESPONSE)[:, None]
    )
    hit = 1 - torch.exp(-mean / (0.02 * visible + threshold))
    noise = -torch.log1p(-torch.rand(mean.shape, generator=generator))
    cells = torch.where(
        torch.rand(mean.shape, generator=generator) < hit, mean / hit.clamp_min(1e-6) * noise, 0.0
    )
    return torch.where(cells < max(threshold, 1e-6 * visible), 0.0, cells)


def _lateral(layer: Layer) -> Tensor:
    """Share of each cell within its layer, ``(cells,)``, sum 1."""
    rows, cols = (torch.tensor(edges) for edges in layer.edges)
    area = rows.diff()[:, None] * cols.diff()[None, :]
    polar = layer.axes == ("alpha", "r")
    if polar:
        area = area * layer.centres()[1].float()
    x, y = (part.float() for part in layer.cartesian())
    radius = torch.hypot(x, y)
    scale = 0.15 * math.sqrt(float(area.sum()) / math.pi)
    weight = area * torch.exp(-radius / scale)
    return (weight / weight.sum()).flatten()
