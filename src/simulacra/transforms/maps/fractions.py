r"""Energies of layers as fractions, and cells relative to their layer.

With layer energies :math:`E_1 \dots E_L` and :math:`r_l = E_l / E_{inc}`,

.. math:: u_0 = \frac{1}{k} \sum_l r_l, \qquad u_l = r_l \Big/ \sum_{j \ge l} r_j \quad (l = 1 \dots L - 1);

the last layer takes the rest, and an empty tail (0/0) is 0. Reference: CaloFlow, arXiv:2106.05285, equation
3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Geometry
from simulacra.transforms.maps.base import Map


def _tails(r: Tensor) -> Tensor:
    """Sums from each entry to the last, ``(B, L)``."""
    return r.flip(-1).cumsum(-1).flip(-1)


class EnergyFractions(Map):
    """``(E_1 .. E_L) / E_inc`` to ``(u_0 .. u_{L-1})``, both ``(B, L)``.

    Args:
        scale: ``k``, about the largest total in the data, so that ``u_0`` lies in [0, 1].
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if scale <= 0:
            raise ValueError(f"energy fractions need a positive scale, got {scale}")
        self.scale = scale

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """See the module's docstring; in double precision inside."""
        r = x.double()
        tails = _tails(r)
        u = torch.where(tails > 0, r / torch.where(tails > 0, tails, 1.0), 0.0)
        return torch.cat([tails[..., :1] / self.scale, u[..., :-1]], dim=-1).to(x.dtype)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unroll; fractions are clipped to [0, 1], the total to non-negative values."""
        u = y[..., 1:].double().clamp(0, 1)
        total = (y[..., :1].double() * self.scale).clamp(min=0)
        left = torch.cat([torch.ones_like(total), torch.cumprod(1 - u, dim=-1)], dim=-1)
        share = torch.cat([u, torch.ones_like(total)], dim=-1)
        return (total * left * share).to(y.dtype)


class LogEnergyFractions(Map):
    r"""As :class:`EnergyFractions` followed by ``ln u_0`` and ``logit u_l``, for positive energies.

    Since :math:`\mathrm{logit}\, u_l = \ln r_l - \ln \sum_{j > l} r_j` no digits are lost at fractions near 0
    or 1. The image is all of :math:`R^L`, so that no generated value needs clipping.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, L)`` logarithms of positive ratios, ``ln r_l``, to log fractions."""
        tails = x.double().flip(-1).logcumsumexp(-1).flip(-1)
        return torch.cat([tails[..., :1], x[..., :-1] - tails[..., 1:]], dim=-1).to(x.dtype)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logarithms of the ratios."""
        logits = y[..., 1:].double()
        share = torch.nn.functional.logsigmoid(logits)
        rest = torch.nn.functional.logsigmoid(-logits).cumsum(-1)
        zero = torch.zeros_like(y[..., :1]).double()
        left = torch.cat([zero, rest], dim=-1)
        return (y[..., :1].double() + left + torch.cat([share, zero], dim=-1)).to(y.dtype)


class LayerNormalise(Map):
    """Cells ``(B, V)`` to shares of their layer and the layer energies, ``(B, V + L)``; exact also for empty
    layers.

    Args:
        geometry: Where the layers are.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shares are 0 in an empty layer."""
        sums = self.geometry.layer_sums(x.double())
        shares = x.double() / self.geometry.spread(torch.where(sums > 0, sums, 1.0))
        return torch.cat([shares, sums], dim=-1).to(x.dtype)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Cells; shares need not sum to 1 and are normalised first."""
        shares, energies = y.double().split([self.geometry.n_voxels, len(self.geometry)], dim=-1)
        sums = self.geometry.layer_sums(shares)
        scale = torch.where(sums <= 0, 0.0, energies / torch.where(sums > 0, sums, 1.0))
        return (shares * self.geometry.spread(scale)).to(y.dtype)
