r"""Blocks of transformers that time and conditions steer (adaLN-Zero), and their parts.

.. math:: h' = h + g_1\, A\bigl((1 + s_1)\, N(h) + b_1\bigr), \qquad
    h'' = h' + g_2\, F\bigl((1 + s_2)\, N(h') + b_2\bigr),

with attention :math:`A` between tokens, a feed-forward part :math:`F` and a normalisation :math:`N`; shifts
``b``, scales ``s`` and gates ``g`` are maps of what steers, zero before training, so that a block starts as
the identity.

Reference: Peebles and Xie 2022, arXiv:2212.09748, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import UserError
from simulacra.nn.recompute import Block

Steer = Callable[[int, int], nn.Module]
"""From a width and a number of parts to a module of what steers, ``(B, *)``, that gives ``(B, 1, width)`` for
each part."""


class Modulation(nn.Module):
    """A linear map of what steers ``(B, width)``; see the module's docstring.

    Args:
        width: Width of what steers and of a part.
        parts: Number of parts.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.map = nn.Linear(width, parts * width)
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, steer: Tensor) -> Sequence[Tensor]:
        """``(B, width)`` to parts ``(B, 1, width)``."""
        return self.together(steer)[:, None].chunk(self.parts, -1)

    def together(self, steer: Tensor) -> Tensor:
        """``(B, width)`` to all parts ``(B, parts width)``, which :class:`Shared` modulations divide."""
        found: Tensor = self.map(functional.silu(steer))
        return found


class Shared(nn.Module):
    """One map for all blocks, and numbers of its own for each.

    Args:
        width: Width of a part.
        parts: Number of parts.

    Reference: Chen et al. 2023, arXiv:2310.00426, section 2.3.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(parts, width))

    def forward(self, steer: Tensor) -> Sequence[Tensor]:
        """``(B, parts width)``, or the same for all parts ``(B, width)``, to parts ``(B, 1, width)``."""
        each = steer.unflatten(-1, (-1, self.table.shape[1])) + self.table
        return each[:, :, None].unbind(1)


class RMSNorm(nn.RMSNorm):
    """Divided by the root mean square, in the precision of the weights whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """``(*, width)``."""
        return super().forward(x.to(self.weight.dtype))


class SelfAttention(nn.Module):
    """Attention between tokens ``(B, N, W)``.

    Args:
        width: ``W``, a multiple of the number of heads.
        heads: Number of heads.
        normalised: Whether queries and keys are divided by their root mean square; then nothing is added.

    Raises:
        UserError: If the width does not divide.
    """

    def __init__(self, width: int, heads: int, normalised: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=not normalised)
        self.output = nn.Linear(width, width, bias=not normalised)
        self.norms = nn.ModuleList(
            RMSNorm(width // heads) if normalised else nn.Identity() for _ in range(2)
        )

    def forward(
        self, h: Tensor, allowed: Tensor | None = None, turn: nn.Module | None = None
    ) -> Tensor:
        """``(B, N, W)``; ``allowed`` ``(N, N)`` says which tokens a token sees, ``turn`` gives phases."""
        heads = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(h).chunk(3, -1))
        query, key, value = (part.transpose(1, 2) for part in heads)
        query, key = (norm(part) for norm, part in zip(self.norms, (query, key), strict=True))
        if turn is not None:
            query, key = turn(query), turn(key)
        # in half precision norms and phases come back in single precision
        query, key = query.to(value.dtype), key.to(value.dtype)
        found = functional.scaled_dot_product_attention(query, key, value, allowed)
        made: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return made


class SwiGLU(nn.Module):
    r""":math:`W_3 (\mathrm{silu}(W_1 h) \cdot W_2 h)`.

    Args:
        width: Width of input and output.
        hidden: Width between.

    Reference: Shazeer 2020, arXiv:2002.05202.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, 2 * hidden, bias=False)
        self.last = nn.Linear(hidden, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """``(*, width)``."""
        gate, value = self.first(h).chunk(2, -1)
        made: Tensor = self.last(functional.silu(gate) * value)
        return made


class DiTBlock(Block):
    """See the module's docstring.

    Args:
        width: Width of a token.
        norm: Makes a normalisation.
        attention: Between tokens.
        inner: Feed-forward part.
        steer: Makes the modulation.
    """

    def __init__(
        self,
        width: int,
        norm: Callable[[int], nn.Module],
        attention: SelfAttention,
        inner: nn.Module,
        steer: Steer,
    ) -> None:
        super().__init__()
        self.before, self.after = norm(width), norm(width)
        self.attention, self.inner = attention, inner
        self.steer = steer(width, 6)

    def forward(
        self, h: Tensor, known: Tensor, allowed: Tensor | None, turn: nn.Module | None
    ) -> Tensor:
        """Tokens ``(B, N, width)``, steered by ``known`` ``(B, *)``; see :class:`SelfAttention`."""
        shift, scale, gate, shift_inner, scale_inner, gate_inner = self.steer(known)
        seen = self.before(h) * (1 + scale) + shift
        h = h + gate * self.attention(seen, allowed, turn)
        return h + gate_inner * self.inner(self.after(h) * (1 + scale_inner) + shift_inner)


class Head(nn.Module):
    """Tokens to numbers, zero before training.

    Args:
        width: Width of a token.
        outputs: Numbers per token.
        norm: Makes a normalisation.
        steer: Makes the modulation.
    """

    def __init__(
        self, width: int, outputs: int, norm: Callable[[int], nn.Module], steer: Steer
    ) -> None:
        super().__init__()
        self.norm, self.steer = norm(width), steer(width, 2)
        self.last = nn.Linear(width, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, h: Tensor, known: Tensor) -> Tensor:
        """``(B, N, width)`` and ``(B, *)`` to ``(B, N, outputs)``."""
        shift, scale = self.steer(known)
        made: Tensor = self.last(self.norm(h) * (1 + scale) + shift)
        return made
