r"""Transformers over a few numbers that follow each other, such as the energies of a shower's layers.

Every number is a token, its value times a vector and a learned vector for its place. An encoder looks at the
conditions, a decoder at the numbers and at what the encoder makes of the conditions:

==========================  =========================================================================
:class:`EncoderDecoder`     all numbers at once at a time of a diffusion, a velocity for each
:class:`CausalDecoder`      from the numbers before it, a vector for each that describes what may come
==========================  =========================================================================

References: vit4hep, arXiv:2601.05289, and CaloDREAM, arXiv:2405.09629, section 4.

Note:
    Layers are normalised before, not after, attention and feed-forward parts; places are learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.core.ranges import Count, Dropout
from simulacra.nn.attention import Attention
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.mlp import MLP

Pair = tuple[Tensor, Tensor]
"""Projected keys and values, each ``(B, heads, N, W / heads)``."""


class Tokens(nn.Module):
    """Numbers ``(B, N)`` to tokens ``(B, N, W)``.

    Args:
        count: ``N``.
        width: ``W``.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(width) / width**0.5)
        self.place = nn.Parameter(torch.randn(count, width) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.one(x, slice(None))

    def one(self, x: Tensor, places: slice) -> Tensor:
        """Numbers ``(B, n)`` that stand at some places."""
        return x[..., None] * self.value + self.place[places]


class Encoder(nn.Module):
    """What there is to know of conditions ``(B, C)``: ``(B, C + 1, W)``, with a token of its own.

    Args:
        conditions: ``C``, may be 0.
        width: ``W``.
        heads: Attention heads.
        layers: Number of layers.
        hidden: Width inside the feed-forward parts.
        dropout: Probability to drop a unit of the feed-forward parts.
    """

    def __init__(
        self, conditions: int, width: int, heads: int, layers: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = Tokens(conditions + 1, width)
        self.layers = nn.ModuleList(
            _EncoderLayer(width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, n: int, context: Tensor | None) -> Tensor:
        """``n`` events, with their conditions if there are any."""
        one = self.tokens.value.new_ones(n, 1)
        h = self.tokens(one if context is None else torch.cat([one, context], dim=1))
        for layer in self.layers:
            h = layer(h)
        found: Tensor = self.norm(h)
        return found


class _EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.local = MLP(width, width, [hidden], nn.GELU, dropout)

    def forward(self, h: Tensor) -> Tensor:
        normed = self.before(h)
        h = h + self.attention(normed, normed)
        return h + self.local(self.between(h))


class _DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own, self.other = Attention(width, heads), Attention(width, heads)
        self.local = MLP(width, width, [hidden], nn.GELU, dropout)

    def forward(self, h: Tensor, memory: Pair, causal: bool) -> Tensor:
        """Tokens ``(B, N, W)`` that see each other, or those up to themselves, and the memory."""
        normed = self.norms[0](h)
        h = h + self.own.attend(normed, self.own.project(normed), causal=causal)
        return self._rest(h, memory)

    def step(self, h: Tensor, memory: Pair, past: Pair | None) -> tuple[Tensor, Pair]:
        """The next token ``(B, 1, W)``, and the projected tokens up to it."""
        normed = self.norms[0](h)
        pair = self.own.project(normed)
        if past is not None:
            pair = torch.cat([past[0], pair[0]], 2), torch.cat([past[1], pair[1]], 2)
        return self._rest(h + self.own.attend(normed, pair), memory), pair

    def _rest(self, h: Tensor, memory: Pair) -> Tensor:
        h = h + self.other.attend(self.norms[1](h), memory)
        made: Tensor = h + self.local(self.norms[2](h))
        return made


@dataclass(frozen=True)
class State:
    """What a :class:`CausalDecoder` knows of the numbers so far.

    Args:
        place: How many there are.
        memory: What each layer sees of the conditions.
        past: What each layer sees of the numbers, empty at first.
    """

    place: int
    memory: Sequence[Pair]
    past: Sequence[Pair]


class EncoderDecoder(nn.Module):
    """Velocities of all numbers at once, see the module's docstring.

    Args:
        layout: Numbers and conditions.
        width: Width of a token.
        heads: Attention heads.
        layers: Layers of the encoder, and of the decoder.
        hidden: Width inside the feed-forward parts.
        frequencies: Fourier frequencies of the time.
        dropout: Probability to drop a unit of the feed-forward parts.
    """

    def __init__(
        self,
        layout: Layout,
        width: Count,
        heads: Count,
        layers: Count,
        hidden: Count,
        frequencies: Count,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(layout.context, width, heads, layers, hidden, dropout)
        self.tokens = Tokens(layout.features, width)
        self.time = FourierFeatures(frequencies)
        self.when = MLP(self.time.width, width, [width])
        self.layers = nn.ModuleList(
            _DecoderLayer(width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.last = MLP(width, 1, [width], zero_init=True)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, N)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, N)``."""
        memory = self.encoder(x.shape[0], context)
        h = self.tokens(x) + self.when(self.time(t))[:, None]
        for layer in _each(self.layers):
            h = layer(h, layer.other.project(memory), causal=False)
        velocity: Tensor = self.last(self.norm(h))
        return velocity[..., 0]


class CausalDecoder(nn.Module):
    """A vector for each number from the conditions and the numbers before it, see the module's docstring.

    Args:
        layout: Numbers and conditions.
        width: Width of a token and of the vectors.
        heads: Attention heads.
        layers: Layers of the encoder, and of the decoder.
        hidden: Width inside the feed-forward parts.
        dropout: Probability to drop a unit of the feed-forward parts.
    """

    def __init__(
        self,
        layout: Layout,
        width: Count,
        heads: Count,
        layers: Count,
        hidden: Count,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.width = width
        self.encoder = Encoder(layout.context, width, heads, layers, hidden, dropout)
        self.tokens = Tokens(
            layout.features, width
        )  # the place of a token is that of the next number
        self.layers = nn.ModuleList(
            _DecoderLayer(width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """All numbers ``(B, N)``, given ``(B, C)``, to vectors ``(B, N, W)``."""
        memory = self.encoder(x.shape[0], context)
        h = self.tokens(torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1))
        for layer in _each(self.layers):
            h = layer(h, layer.other.project(memory), causal=True)
        found: Tensor = self.norm(h)
        return found

    def start(self, n: int, context: Tensor | None) -> State:
        """What :meth:`step` begins with, for ``n`` events given ``(n, C)``."""
        memory = self.encoder(n, context)
        return State(0, [layer.other.project(memory) for layer in _each(self.layers)], [])

    def step(self, before: Tensor, state: State) -> tuple[Tensor, State]:
        """The vector ``(B, W)`` of the next number.

        Args:
            before: The number before it ``(B,)``, zeros for the first.
            state: What is known of all before.
        """
        place = state.place
        past: Sequence[Pair | None] = state.past or [None] * len(self.layers)
        h = self.tokens.one(before[:, None], slice(place, place + 1))
        pairs = []
        for layer, memory, pair in zip(_each(self.layers), state.memory, past, strict=True):
            h, longer = layer.step(h, memory, pair)
            pairs.append(longer)
        found: Tensor = self.norm(h)
        return found[:, 0], State(place + 1, state.memory, pairs)


def _each(layers: nn.ModuleList) -> Iterator[_DecoderLayer]:
    for layer in layers:
        assert isinstance(layer, _DecoderLayer)
        yield layer
