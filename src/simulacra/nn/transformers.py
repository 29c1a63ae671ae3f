r"""Transformers for the points of an event at a time of a diffusion.

Points attend to one another, at a cost that is quadratic in their number, or (:class:`CrossAttention`) to a
few tokens that attend to them, at a cost that is linear. Permuting points permutes the result, padded points
never change it, and their own result is exactly 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count, Dropout
from simulacra.nn.attention import Attention, masked_mean, padded
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.groups import in_groups
from simulacra.nn.mlp import MLP
from simulacra.nn.parted import Parted
from simulacra.nn.sets import SplitLinear


class _Local(nn.Module):
    """Two linear layers that all points share, the first of which sees the context of its event.

    Args:
        inputs: Width of a point.
        context: Width of the context.
        outputs: Width of the result.
        hidden: Width between.
        activation: Between the layers.
        zero_init: Whether the last layer starts at exactly zero.
    """

    def __init__(
        self,
        inputs: int,
        context: int,
        outputs: int,
        hidden: int,
        activation: nn.Module,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.first, self.last = SplitLinear(inputs, context, hidden), nn.Linear(hidden, outputs)
        self.activation = activation
        if zero_init:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """``(B, N, inputs)`` and ``(B, context)`` to ``(B, N, outputs)``."""
        value: Tensor = self.last(self.activation(self.first(x, context)))
        return value


class NormFormer(Parted, nn.Module):
    """Transformer whose attention and feed-forward parts are normalised before and after.

    Args:
        features: ``F``, columns of a point.
        cond: ``C``, width of the conditions, may be 0.
        width: Width of a point inside.
        context: Width of what time and conditions become; it is concatenated in every feed-forward part.
        layers: Number of layers.
        heads: Attention heads.
        hidden: Width inside the feed-forward parts.
        frequencies: Number of Fourier frequencies of the time.

    Reference: PC-JeDi, arXiv:2303.05376, section 3; Shleifer et al. 2021, arXiv:2110.09456.
    """

    EMBEDDERS = ("time", "context", "embed")
    HEAD = ("output",)

    def __init__(
        self,
        features: int,
        cond: int,
        width: Count,
        context: Count,
        layers: Count,
        heads: Count,
        hidden: Count,
        frequencies: Count,
    ) -> None:
        super().__init__()
        self.widest = max(3 * width, hidden)
        self.time = FourierFeatures(frequencies)
        self.context = MLP(self.time.width + cond, context, [hidden], _leaky)
        self.embed = _Local(features, context, width, hidden, _leaky())
        self.layers = nn.ModuleList(
            _NormFormerLayer(width, context, heads, hidden) for _ in range(layers)
        )
        self.output = _Local(width, context, features, hidden, _leaky(), zero_init=True)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, N, F)``, given numbers ``(B,)`` in [0, 1], mask ``(B, N)`` and conditions ``(B, C)``."""
        return in_groups(self._of_group, self.widest, x, mask, (self.context(self.time(t), cond),))

    def _of_group(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        h, some = self.embed(x, context), padded(mask)
        for layer in self.layers:
            h = layer(h, some, context)
        found = self.output(h, context)
        return found if some is None else found * some[..., None]


class _NormFormerLayer(nn.Module):
    def __init__(self, width: int, context: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)
        within = nn.Sequential(_leaky(), nn.LayerNorm(hidden))
        self.local = _Local(width, context, width, hidden, within)

    def forward(self, h: Tensor, mask: Tensor | None, context: Tensor) -> Tensor:
        normed = self.before(h)
        h = self.after(self.attention(normed, normed, mask)).add_(h)  # sums in place: memory-bound
        return h + self.local(self.norm(h), context)


class PreNorm(Parted, nn.Module):
    """Transformer whose parts are normalised before, with the mean over points beside each point at the end.

    Args:
        features: ``F``, columns of a point.
        cond: ``C``, width of the conditions, may be 0.
        width: Width of a point inside.
        embedding: Width of what time and conditions become before they are added to the points.
        layers: Number of layers.
        heads: Attention heads.
        hidden: Width inside the feed-forward parts.
        frequencies: Number of Fourier frequencies of the time.
        dropout: Probability to drop a unit of the feed-forward parts.

    Reference: FPCD, arXiv:2304.01266, section III.
    """

    EMBEDDERS = ("time", "context", "embed")
    HEAD = ("output",)

    def __init__(
        self,
        features: int,
        cond: int,
        width: Count,
        embedding: Count,
        layers: Count,
        heads: Count,
        hidden: Count,
        frequencies: Count,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.time = FourierFeatures(frequencies)
        self.context = MLP(self.time.width + cond, width, [embedding, embedding], _leaky)
        self.widest, self.dropout = max(3 * width, hidden), dropout
        self.embed = nn.Linear(features, width)
        self.layers = nn.ModuleList(
            _PreNormLayer(width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = _Local(2 * width, width, features, hidden, _leaky(), zero_init=True)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, N, F)``, given numbers ``(B,)`` in [0, 1], mask ``(B, N)`` and conditions ``(B, C)``."""
        context = self.context(self.time(t), cond)
        if self.training and self.dropout > 0:  # what is dropped is drawn at once
            return self._of_group(x, mask, context)
        return in_groups(self._of_group, self.widest, x, mask, (context,))

    def _of_group(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        embedded = nn.functional.leaky_relu(self.embed(x), 0.01) + context[:, None]
        h = embedded
        for layer in self.layers:
            h = layer(h, mask)
        h = self.norm(h)
        whole = masked_mean(h, mask) + context
        return self.output(torch.cat([embedded, h], -1), whole) * mask[..., None]


class _PreNormLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.before, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.inner = MLP(width, width, [hidden], nn.GELU, dropout)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        normed = self.before(h)
        h = h + self.attention(normed, normed, mask)
        return h + self.inner(self.norm(h))


class CrossAttention(Parted, nn.Module):
    """Points and a few learned tokens that attend to each other in turn.

    Args:
        features: ``F``, columns of a point.
        cond: ``C``, width of the conditions, may be 0.
        width: Width of points and tokens.
        tokens: Number of tokens.
        context: Width of what time and conditions become; it is concatenated in every feed-forward part.
        layers: Number of layers.
        heads: Attention heads.
        hidden: Width inside the feed-forward parts.
        frequencies: Number of Fourier frequencies of the time.

    Reference: PC-Droid, arXiv:2307.06836, section 3.
    """

    EMBEDDERS = ("time", "context", "embed")
    HEAD = ("output",)

    def __init__(
        self,
        features: int,
        cond: int,
        width: Count,
        tokens: Count,
        context: Count,
        layers: Count,
        heads: Count,
        hidden: Count,
        frequencies: Count,
    ) -> None:
        super().__init__()
        self.time = FourierFeatures(frequencies)
        self.widest = max(3 * width, hidden)
        self.context = MLP(self.time.width + cond, context, [hidden])
        self.embed = _Local(features, context, width, hidden, nn.SiLU())
        self.tokens = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        self.layers = nn.ModuleList(
            _CrossLayer(width, context, heads, hidden) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = _Local(width, context, features, hidden, nn.SiLU(), zero_init=True)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, N, F)``, given numbers ``(B,)`` in [0, 1], mask ``(B, N)`` and conditions ``(B, C)``."""
        return in_groups(self._of_group, self.widest, x, mask, (self.context(self.time(t), cond),))

    def _of_group(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        h = self.embed(x, context)
        tokens = self.tokens.expand(x.shape[0], -1, -1)
        for layer in self.layers:
            h, tokens = layer(h, tokens, mask, context)
        return self.output(self.norm(h), context) * mask[..., None]


class _CrossLayer(nn.Module):
    """Tokens gather from points, then points from tokens; each part starts as the identity."""

    def __init__(self, width: int, context: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(6))
        self.gather = Attention(width, heads, zero_init=True)
        self.spread = Attention(width, heads, zero_init=True)
        self.of_tokens = _Local(width, context, width, hidden, nn.SiLU(), zero_init=True)
        self.of_points = _Local(width, context, width, hidden, nn.SiLU(), zero_init=True)

    def forward(
        self, h: Tensor, tokens: Tensor, mask: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens = tokens + self.gather(self.norms[0](tokens), self.norms[1](h), mask)
        tokens = tokens + self.of_tokens(self.norms[2](tokens), context)
        h = h + self.spread(self.norms[3](h), self.norms[4](tokens))
        return h + self.of_points(self.norms[5](h), context), tokens


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.1, inplace=True)
