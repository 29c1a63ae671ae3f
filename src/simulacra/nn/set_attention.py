r"""Attention between sets of points with a mask.

Multi-head attention blocks, with context :math:`c` of the event:

.. math::
    \mathrm{MAB}(x, y) = h + \lambda(W [h, c]), \qquad h = x + \mathrm{Attention}(x, y),

each sum optionally followed by layer normalisation and dropout. :math:`\mathrm{SAB}(x) = \mathrm{MAB}(x, x)`;
PMA pools a set, :math:`\mathrm{MAB}(s, x)` with a learned seed :math:`s`; IPAB exchanges information through
one vector :math:`z` of the event,

.. math::
    z' = \mathrm{MAB}(z, x), \qquad x' = \mathrm{MAB}(x, z'),

at a cost linear in the number of points. Attention to a single vector gives it all the weight, so that the
second half needs no queries and keys.

Reference: Lee et al. 2019, arXiv:1810.00825; Kansal et al. 2023, arXiv:2211.10295; Li et al. 2023,
arXiv:2312.04757 (IPAB).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn.attention import Attention
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.sets import SplitLinear

SLOPE = 0.2


class FeedForward(nn.Module):
    """What follows attention in a block: the sum, and a layer that sees the context.

    Args:
        width: ``H``.
        context: ``C``, may be 0.
        norm: Whether both sums are layer-normalised.
        dropout: Probability to drop a number after either while training.
    """

    def __init__(self, width: int, context: int, norm: bool, dropout: float) -> None:
        super().__init__()
        self.inner = SplitLinear(width, context, width)
        self.norm1, self.norm2 = (nn.LayerNorm(width) if norm else nn.Identity() for _ in range(2))
        self.dropout = RandomDrop(dropout)

    def forward(self, x: Tensor, answer: Tensor, context: Tensor) -> Tensor:
        """Points and what attention adds to them, ``(B, N, H)``, to ``(B, N, H)``."""
        h = self.dropout(self.norm1(x + answer))
        result: Tensor = self.dropout(self.norm2(h + F.leaky_relu(self.inner(h, context), SLOPE)))
        return result


class MAB(nn.Module):
    """Multi-head attention block; the formula is in the module's docstring.

    Args:
        width: ``H``, width of those that ask.
        other: ``K``, width of those that answer.
        context: ``C``, may be 0.
        heads: Number of heads.
        norm: Whether sums are layer-normalised.
        dropout: Dropout probability.
    """

    def __init__(
        self, width: int, other: int, context: int, heads: int, norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, other)
        self.forth = FeedForward(width, context, norm, dropout)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """``(B, M, H)`` asks ``(B, N, K)`` with mask ``(B, N)``, to ``(B, M, H)``."""
        result: Tensor = self.forth(x, self.attention(x, y, mask), context)
        return result


class PMA(nn.Module):
    """Pooling by attention of one learned seed.

    Args:
        width: ``H``.
        context: ``C``, may be 0.
        heads: Number of heads.
        norm: Whether sums are layer-normalised.
        dropout: Dropout probability.
    """

    def __init__(self, width: int, context: int, heads: int, norm: bool, dropout: float) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.empty(1, 1, width))
        nn.init.xavier_uniform_(self.seed)
        self.block = MAB(width, width, context, heads, norm, dropout)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """``(B, N, H)`` with mask ``(B, N)`` to ``(B, H)``."""
        pooled: Tensor = self.block(self.seed.expand(x.shape[0], -1, -1), x, mask, context)
        return pooled[:, 0]


class IPAB(nn.Module):
    """Induced attention with one vector per event; the formula is in the module's docstring.

    Args:
        width: ``H``, width of a point.
        event: ``E``, width of the event's vector.
        context: ``C``, may be 0.
        heads: Number of heads.
        norm: Whether sums are layer-normalised.
        dropout: Dropout probability.
    """

    def __init__(
        self, width: int, event: int, context: int, heads: int, norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.gather = MAB(event, width, context, heads, norm, dropout)
        self.spread = nn.Linear(event, width)
        self.forth = FeedForward(width, context, norm, dropout)

    def forward(self, x: Tensor, z: Tensor, mask: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Points ``(B, N, H)`` with mask ``(B, N)`` and vector ``(B, 1, E)``, to both."""
        z = self.gather(z, x, mask, context)
        return self.forth(x, self.spread(z), context), z
