r"""Attention between sets of points with masks.

.. math:: \mathrm{Attention}(Q, K, V) = \mathrm{softmax}(Q K^T / \sqrt{d})\, V

over real keys alone; where a set of keys is empty the result is 0.

Reference: Vaswani et al. 2017, arXiv:1706.03762.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn.derived import Derived, keeps
from simulacra.nn.groups import recorded

SHORT = 64
"""Keys up to which a processor is faster without torch's fused kernel, where no gradient is asked for."""


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
        self.joint: Derived[tuple[Tensor, Tensor]] = Derived(_joint)
        if zero_init:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, M, W)``; ``mask`` ``(B, N)`` marks the real keys (None: all)."""
        parts = self._of_itself(x) if x is keys and keeps() else self._of_both(x, keys)
        mask = None if mask is None else padded(mask)
        if mask is None:
            return self._answer(attended(*parts))
        some = mask.any(1)
        allowed = (mask | ~some[:, None])[:, None, None]  # (B, 1, 1, N), at least one key
        return self._answer(attended(*parts, allowed)) * some[:, None, None].to(x.dtype)

    def project(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Keys ``(B, N, K)`` as :meth:`attend` takes them, and may take them again: two tensors
        ``(B, heads, N, W / heads)``.
        """
        key, value = (self._split(part) for part in self.key_value(keys).chunk(2, -1))
        return key, value

    def attend(
        self,
        x: Tensor,
        pair: tuple[Tensor, Tensor],
        allowed: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Queries ``(B, M, W)`` to projected keys.

        Args:
            x: Queries.
            pair: Projected keys.
            allowed: Which keys a query sees, bool, broadcast to ``(B, heads, M, N)`` (None: all).
            causal: Whether query ``m`` sees the first ``m + 1`` keys alone.
        """
        return self._answer(attended(self._split(self.query(x)), *pair, allowed, causal))

    def _of_both(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each ``(B, heads, N, W / heads)``."""
        return self._split(self.query(x)), *self.project(keys)

    def _of_itself(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of points that ask themselves, by one product; laid out one after the other."""
        one, two = self.query, self.key_value
        made = F.linear(x, *self.joint(one.weight, two.weight, one.bias, two.bias))
        parts = made.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
        query, key, value = parts.unbind(0)
        return query, key, value

    def _answer(self, found: Tensor) -> Tensor:
        """What heads found, ``(B, heads, M, W / heads)``, to ``(B, M, W)``."""
        made: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return made

    def _split(self, x: Tensor) -> Tensor:
        """``(B, M, W)`` to ``(B, heads, M, W / heads)``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Attention of all heads, ``(B, heads, M, D)`` to ``(B, heads, N, D)``.

    Few keys are met by two products and a softmax, more by a fused kernel, which keeps nothing of the size
    ``M N``. Of half as many bits, a processor computes it in single precision, in which its kernel is faster.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        allowed: Which keys a query sees, bool, broadcast to ``(B, heads, M, N)`` (None: all).
        causal: Whether query ``m`` sees the first ``m + 1`` keys alone.
    """
    if query.dtype == torch.bfloat16 and not recorded(query):
        with torch.autocast(query.device.type, enabled=False):
            single = attended(query.float(), key.float(), value.float(), allowed, causal)
        return single.to(query.dtype)
    few = key.shape[-2] <= SHORT and not (causal or torch.is_grad_enabled() or recorded(query))
    if not few:
        return F.scaled_dot_product_attention(query, key, value, allowed, is_causal=causal)
    q, k, v = (part.flatten(0, 1) for part in (query, key, value))
    scale = query.shape[-1] ** -0.5
    scores = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=scale)
    if allowed is not None:
        scores.view(*query.shape[:3], -1).masked_fill_(~allowed, -math.inf)
    return torch.bmm(scores.softmax(-1), v).view_as(query)


def padded(mask: Tensor) -> Tensor | None:
    """The mask ``(B, N)`` where some points are not real, else None; itself where nothing may depend on
    values.
    """
    return None if not recorded(mask) and bool(mask.all()) else mask


def _joint(
    query: Tensor, pair: Tensor, query_bias: Tensor, pair_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights ``(3 W, W)`` and biases ``(3 W,)`` of queries, keys and values."""
    return torch.cat([query, pair]), torch.cat([query_bias, pair_bias])


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over real points, ``(B, N, H)`` to ``(B, H)``; 0 where there is none."""
    weight = mask[..., None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)
