r"""One small network that splits every cell of an image pyramid in two, at all scales alike.

A square image of :math:`2^K` rows is halved :math:`2K` times, its rows and its columns in turn. At each of
these levels a parent cell has two children. Upwards, an encoder makes the parent's code from the children's
codes and from how the parent's content is divided; downwards, a decoder makes from the parent's state, from
its code where a mask lets it pass, and from its neighbours what it knows of the division, and then the states
of the children. Since contents enter as shares of the parent's, and the weights are the same at every level,
nothing in the network knows a scale but for the share of the whole that the parent holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core.ranges import Count

DIVISION = 4
"""Numbers that say how a parent is divided: which of three kinds, and by how much."""
STEEPEST = 15.0
"""Largest logit of a share that a network is shown."""


class Splitter(nn.Module):
    """See the module's docstring. Grids are ``(B, channels, rows, columns)``; rows are what is halved.

    Args:
        context: Width of what is known of the whole image, 0 for nothing.
        numbers: What the decoder says of each division.
        state: Channels of a state.
        code: Channels of a code.
        hidden: Channels inside.
    """

    def __init__(
        self, context: int, numbers: int, state: Count, code: Count, hidden: Count
    ) -> None:
        super().__init__()
        self.code = code
        self.root = nn.Linear(context + 1, state)
        self.up = nn.Conv2d(2 * code + DIVISION, code, 1)
        self.seen = nn.Conv2d(state + code + 2, hidden, 3, padding=1)
        self.mixed = nn.Conv2d(hidden, hidden, 1)
        self.told = nn.Conv2d(hidden, numbers, 1)
        self.down = nn.Conv2d(hidden + DIVISION, 2 * state, 1)

    def start(self, n: int, context: Tensor | None) -> Tensor:
        """States ``(n, state, 1, 1)`` of whole images, given the context ``(n, C)``."""
        one = self.root.weight.new_ones(n, 1)
        known = one if context is None else torch.cat([one, context], 1)
        return torch.tanh(self.root(known))[:, :, None, None]

    def encode(self, below: Tensor, division: Tensor) -> Tensor:
        """Codes of parents ``(B, code, h, w)``.

        Args:
            below: Codes of the children ``(B, code, 2 h, w)``.
            division: See :func:`division`, ``(B, 4, h, w)``.
        """
        pair = torch.cat([below[:, :, 0::2], below[:, :, 1::2], division], 1)
        return torch.tanh(self.up(pair))

    def decode(
        self, state: Tensor, code: Tensor, mask: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is said of each division ``(B, numbers, h, w)``, and features for :meth:`descend`.

        Args:
            state: ``(B, state, h, w)``.
            code: ``(B, code, h, w)``.
            mask: Where the code passes, ``(B, 1, h, w)``.
            share: Logarithm of the parent's share of the whole, ``(B, 1, h, w)``.
        """
        seen = torch.cat([state, code * mask, mask, share], 1)
        features = functional.gelu(self.mixed(functional.gelu(self.seen(seen))))
        return self.told(features), features

    def descend(self, features: Tensor, division: Tensor) -> Tensor:
        """States of the children ``(B, state, 2 h, w)``, those of one parent below each other."""
        pair = torch.tanh(self.down(torch.cat([features, division], 1)))
        return interleaved(*pair.chunk(2, 1))


def interleaved(first: Tensor, second: Tensor) -> Tensor:
    """First and second children ``(B, C, h, w)`` in turn along the rows, ``(B, C, 2 h, w)``."""
    return torch.stack([first, second], 3).flatten(2, 3)


def division(kind: Tensor, logit: Tensor) -> Tensor:
    """What a network is shown of divisions ``(B, 4, h, w)``.

    Args:
        kind: 0 both children, 1 the first alone, 2 the second alone, int64 ``(B, h, w)``.
        logit: Logit of the first child's share where both have one, ``(B, h, w)``.
    """
    kinds = functional.one_hot(kind, 3).movedim(-1, 1).to(logit)
    shown = torch.where(kind == 0, logit.clamp(-STEEPEST, STEEPEST), 0.0)
    return torch.cat([kinds, 0.25 * shown[:, None]], 1)
