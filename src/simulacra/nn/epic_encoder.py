r"""EPiC encoder: a cloud to mean and log-variance of a latent vector, given conditions of its event.

Points and a global vector pass EPiC layers (:mod:`simulacra.nn.epic`); the pools of the points and the vector
then become the two results. Permuting points changes nothing, nor does padding.

Reference: Buhmann et al. 2023, arXiv:2305.04847, section 3; arXiv:2301.08128 for the layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Positive
from simulacra.nn.epic import SLOPE, EPiCLayer
from simulacra.nn.sets import WeightNormLinear, pooled, pooling


class EPiCEncoder(nn.Module):
    """See the module's docstring.

    With 4 features, two conditions, hidden 128, latent 256 and 3 layers it has 733k parameters
    (arXiv:2305.04847: 730k; conditions enter every linear layer of the points here).

    Args:
        features: ``F``, columns of a point.
        cond: ``C``, width of the conditions, may be 0.
        latent: ``Z``, width of the latent and of the global vector.
        hidden: Width of a point inside.
        layers: Number of EPiC layers.
        sum_scale: Factor of the sum pool.
    """

    def __init__(
        self,
        features: int,
        cond: int,
        latent: int,
        hidden: Count,
        layers: Count,
        sum_scale: Positive = 1e-3,
    ) -> None:
        super().__init__()
        self.sum_scale = sum_scale
        self.local1 = WeightNormLinear(features, cond, hidden)
        self.local2 = WeightNormLinear(hidden, cond, hidden)
        self.global1 = WeightNormLinear(2 * hidden, cond, hidden)
        self.global2 = WeightNormLinear(hidden, cond, latent)
        self.layers = nn.ModuleList(EPiCLayer(hidden, latent, cond, cond) for _ in range(layers))
        self.join1 = WeightNormLinear(2 * hidden + latent, cond, hidden)
        self.join2 = WeightNormLinear(hidden, cond, hidden)
        self.output = nn.Linear(hidden, 2 * latent)

    def forward(self, x: Tensor, mask: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each ``(B, Z)``, of points ``(B, N, F)`` with mask ``(B, N)``."""
        given = x.new_zeros(len(x), 0) if cond is None else cond
        pools = pooling(mask.to(x.dtype)[:, None], self.sum_scale)  # (B, 2, N)
        h = F.leaky_relu(self.local1(x, given), SLOPE)
        h = F.leaky_relu(self.local2(h, given) + h, SLOPE)
        g = F.leaky_relu(self.global1(pooled(h, pools), given), SLOPE)
        g = F.leaky_relu(self.global2(g, given), SLOPE)
        for layer in self.layers:
            h, g = layer(h, g, pools, given, given)
        joined = torch.cat([pooled(h, pools), g], 1)
        joined = F.leaky_relu(self.join1(joined, given), SLOPE)
        joined = F.leaky_relu(self.join2(joined, given) + joined, SLOPE)
        mean, log_variance = self.output(joined).chunk(2, 1)
        return mean, log_variance
