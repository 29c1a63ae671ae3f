r"""EPiC networks: equivariant point cloud networks of a cost linear in the number of points.

Points exchange information only through a small global vector ``g``. With pools over real points,
one layer is

.. math::
    p &= [\mathrm{mean}_i x_i,\; s \sum_i x_i,\; g] \\
    g' &= \lambda(W_2 \lambda(W_1 [p, t, c]) + g) \quad\text{with } W_2 \text{ also seeing } t, c\\
    x_i' &= \lambda(W_4 \lambda(W_3 [x_i, g', t, c]) + x_i) \quad\text{with } W_4 \text{ also seeing } t, c

where :math:`\lambda` is LeakyReLU with slope 0.01, :math:`t` are Fourier features of the flow's
time and :math:`c` conditions of the event. Permuting points permutes the result, and padded points
never change it.

Reference: Buhmann, Kasieczka, Thaler 2023, arXiv:2301.08128 (layer); Buhmann et al. 2023,
arXiv:2310.00049 (time and conditions in every linear layer).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Positive
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.parted import Parted
from simulacra.nn.sets import WeightNormLinear, pooled, pooling

SLOPE = 0.01


def _activate(x: Tensor, residual: Tensor | None = None) -> Tensor:
    """LeakyReLU of a fresh tensor, plus a residual, in place: these passes are bound by memory."""
    return F.leaky_relu_(x if residual is None else x.add_(residual), SLOPE)


class EPiCLayer(nn.Module):
    """One exchange between points and global vector; the formula is in the module's docstring.

    Args:
        hidden: Width of a point, ``H``.
        latent: Width of the global vector, ``G``.
        global_context: Width of the context of the global layers.
        local_context: Width of the context of the layers of the points.
    """

    def __init__(self, hidden: int, latent: int, global_context: int, local_context: int) -> None:
        super().__init__()
        self.global1 = WeightNormLinear(2 * hidden, latent + global_context, hidden)
        self.global2 = WeightNormLinear(hidden, global_context, latent)
        self.local1 = WeightNormLinear(hidden, latent + local_context, hidden)
        self.local2 = WeightNormLinear(hidden, local_context, hidden)

    def forward(
        self, x: Tensor, g: Tensor, pools: Tensor, wide: Tensor, near: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points ``(B, N, H)`` and vector ``(B, G)``, given pools ``(B, 2, N)``
        (:func:`~simulacra.nn.sets.pooling`) and contexts.
        """
        seen = _activate(self.global1(pooled(x, pools), torch.cat([g, wide], -1)))
        g = _activate(self.global2(seen, wide), g)
        inner = _activate(self.local1(x, torch.cat([g, near], -1)))
        return _activate(self.local2(inner, near), x), g


class EPiC(Parted, nn.Module):
    """Velocity of a point cloud at a time, given conditions of its event.

    With 3 features, hidden 128, latent 10, 6 layers and 16 frequencies it has 561,330 parameters,
    and 566,852 with two conditions for global and local layers: the sizes of arXiv:2310.00049.

    Args:
        features: ``F``, columns of a point.
        cond: ``C``, width of the conditions, may be 0.
        hidden: Width of a point inside.
        latent: Width of the global vector.
        layers: Number of EPiC layers.
        frequencies: Number of Fourier frequencies of the time.
        local_cond: Whether the layers of the points see the conditions too, or the global layers
            alone.
        sum_scale: Factor of the sum pool.
    """

    EMBEDDERS = ("time", "local1", "local2", "global1", "global2")
    HEAD = ("output",)

    def __init__(
        self,
        features: int,
        cond: int,
        hidden: Count,
        latent: Count,
        layers: Count,
        frequencies: Count,
        local_cond: bool = True,
        sum_scale: Positive = 0.01,
    ) -> None:
        super().__init__()
        self.time = FourierFeatures(frequencies)
        self.local_cond = local_cond
        self.sum_scale = sum_scale
        wide = self.time.width + cond
        near = wide if local_cond else self.time.width
        self.local1 = WeightNormLinear(features, near, hidden)
        self.local2 = WeightNormLinear(hidden, near, hidden)
        self.global1 = WeightNormLinear(2 * hidden, wide, hidden)
        self.global2 = WeightNormLinear(hidden, wide, latent)
        self.layers = nn.ModuleList(EPiCLayer(hidden, latent, wide, near) for _ in range(layers))
        self.output = WeightNormLinear(hidden, near, features)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, cond: Tensor | None = None) -> Tensor:
        """Velocity ``(B, N, F)``, exactly 0 at padded points.

        Args:
            x: Points ``(B, N, F)``; padded ones may hold anything finite.
            t: Time ``(B,)``, in [0, 1].
            mask: Real points, bool ``(B, N)``.
            cond: Conditions ``(B, C)``, or None where ``C`` is 0.
        """
        time = self.time(t)
        wide = time if cond is None else torch.cat([time, cond], -1)
        near = wide if self.local_cond else time
        weight = mask.to(x.dtype)[:, None]  # (B, 1, N)
        pools = pooling(weight, self.sum_scale)
        h = _activate(self.local1(x, near))
        h = _activate(self.local2(h, near), h)
        g = _activate(self.global1(pooled(h, pools), wide))
        g = _activate(self.global2(g, wide))
        for layer in self.layers:
            h, g = layer(h, g, pools, wide, near)
        return self.output(h, near) * weight[:, 0, :, None]
