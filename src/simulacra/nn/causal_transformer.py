r"""Causal transformer over steps of any number, with a cache of what it has seen.

Its layers are normalised before attention and feed-forward part. All heads share their keys and values
(multi-query attention), so that the cache of a step is two rows of ``W / heads`` numbers in each layer.
Learned *registers* stand in front of the first step; queries and keys are turned by rotary phases.

References: Shazeer, arXiv:1911.02150 (shared keys); Su et al., arXiv:2104.09864 (phases); Darcet et al.,
arXiv:2309.16588 (registers).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import UserError
from simulacra.core.ranges import Count, Whole
from simulacra.nn.mlp import MLP
from simulacra.nn.positions import LineRotary, turned

Phases = tuple[Tensor, Tensor]
"""Cosines and sines of the angles of some steps."""


class Cache:
    """Keys and values of the steps so far, in a buffer that doubles when it is full."""

    def __init__(self) -> None:
        self.length = 0
        self.buffer: Tensor | None = None

    def add(self, pair: Tensor) -> Tensor:
        """Put keys and values of ``n`` steps ``(2, B, n, D)`` behind the others; all of them."""
        end = self.length + pair.shape[2]
        if self.buffer is None or end > self.buffer.shape[2]:
            longer = pair.new_empty(*pair.shape[:2], max(16, 2 * end), pair.shape[3])
            if self.buffer is not None:
                longer[:, :, : self.length] = self.buffer[:, :, : self.length]
            self.buffer = longer
        self.buffer[:, :, self.length : end] = pair
        self.length = end
        return self.buffer[:, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the events."""
        if self.buffer is not None:
            self.buffer = self.buffer[:, rows]


class MultiQueryAttention(nn.Module):
    """Attention whose heads share keys and values.

    Args:
        width: ``W``, a multiple of the number of heads.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * (width // heads))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, phases: Phases, cache: Cache | None = None) -> Tensor:
        """Steps ``(B, n, W)`` that see those before them and themselves; with a cache a first call may bring
        several steps, each later call one.
        """
        key, value = self.key_value(x).chunk(2, -1)
        pair = torch.stack([turned(key, *phases), value])
        if cache is not None:
            pair = cache.add(pair)
        query = turned(self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2), *phases)
        keys, values = (part[:, None].expand(-1, self.heads, -1, -1) for part in pair)
        found = functional.scaled_dot_product_attention(
            query, keys, values, is_causal=x.shape[1] > 1
        )
        made: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return made


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiQueryAttention(width, heads)
        self.local = MLP(width, width, [hidden], nn.GELU)

    def forward(self, h: Tensor, phases: Phases, cache: Cache | None = None) -> Tensor:
        h = h + self.attention(self.before(h), phases, cache)
        made: Tensor = h + self.local(self.between(h))
        return made


class CausalTransformer(nn.Module):
    """See the module's docstring.

    Args:
        width: ``W`` of a step.
        layers: Number of layers.
        heads: Attention heads.
        hidden: Width inside the feed-forward parts.
        registers: Learned tokens in front of the first step.
    """

    def __init__(
        self, width: Count, layers: Count, heads: Count, hidden: Count, registers: Whole
    ) -> None:
        super().__init__()
        self.width = width
        self.registers = nn.Parameter(torch.randn(registers, width) / width**0.5)
        self.phases = LineRotary(width // heads)
        self.layers = nn.ModuleList(_Layer(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """All steps ``(B, S, W)``, each with what it knows of those up to itself: ``(B, S, W)``."""
        first = self.registers.expand(len(x), -1, -1)
        h = self._through(torch.cat([first, x], dim=1), 0, [None] * len(self.layers))
        return h[:, len(self.registers) :]

    def start(self, n: int) -> list[Cache]:
        """What :meth:`step` begins with, for ``n`` events."""
        caches = [Cache() for _ in self.layers]
        if len(self.registers):
            self._through(self.registers.expand(n, -1, -1), 0, caches)
        return caches

    def step(self, x: Tensor, caches: Sequence[Cache]) -> Tensor:
        """The next step ``(B, W)``, which is added to the caches: ``(B, W)``."""
        return self._through(x[:, None], caches[0].length, caches)[:, 0]

    def _through(self, h: Tensor, first: int, caches: Sequence[Cache | None]) -> Tensor:
        phases = self.phases(first, h.shape[1])
        for layer, cache in zip(self.layers, caches, strict=True):
            h = layer(h, phases, cache)
        found: Tensor = self.norm(h)
        return found
