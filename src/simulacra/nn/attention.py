r"""Attention between sets of points with masks.

.. math:: \mathrm{Attention}(Q, K, V) = \mathrm{softmax}(Q K^T / \sqrt{d})\, V

over real keys alone; where a set of keys is empty the result is 0.

Reference: Vaswani et al. 2017, arXiv:1706.03762.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of queries ``(B, M, W)`` to keys ``(B, N, K)``.

    Args:
        width: ``W``, a multiple of the number of heads.
        heads: Number of heads.
        other: ``K`` (None: ``W``).
        zero_init: Whether the last layer starts at exactly zero.
    """

    def __init__(
        self, width: int, heads: int, other: int | None = None, zero_init: bool = False
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width if other is None else other, 2 * width)
        self.output = nn.Linear(width, width)
        if zero_init:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, M, W)``; ``mask`` ``(B, N)`` marks the real keys (None: all)."""
        query = self._split(self.query(x))
        key, value = (self._split(part) for part in self.key_value(keys).chunk(2, -1))
        allowed = some = None
        if mask is not None:
            some = mask.any(1)
            allowed = (mask | ~some[:, None])[:, None, None]  # (B, 1, 1, N), at least one key
        found = F.scaled_dot_product_attention(query, key, value, allowed)
        made: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return made if some is None else made * some[:, None, None].to(made.dtype)

    def _split(self, x: Tensor) -> Tensor:
        """``(B, M, W)`` to ``(B, heads, M, W / heads)``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over real points, ``(B, N, H)`` to ``(B, H)``; 0 where there is none."""
    weight = mask[..., None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)
