r"""Relational reasoning: the images of one event look at each other before they are made or judged.

With the vectors :math:`w_1 \dots w_S` of the images of an event as one sequence,

.. math:: a = w + \mathrm{Attention}(\mathrm{LN}\, w), \qquad
          w' = \mathrm{LN}\bigl(a + W_2\, \mathrm{relu}(W_1\, \mathrm{LN}\, a)\bigr),

a transformer block that is normalised before its parts, and a last layer norm. Nothing passes between events.

Reference: IEA-GAN, arXiv:2303.08046, relational reasoning module.
"""

from __future__ import annotations

from torch import Tensor, nn

from simulacra.core.ranges import Count
from simulacra.nn.attention import Attention


class Relations(nn.Module):
    """One block over the images of an event.

    Args:
        width: Width of an image's vector, a multiple of the number of heads.
        heads: Attention heads.
        hidden: Width inside the feed-forward part.
    """

    def __init__(self, width: int, heads: Count, hidden: Count) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, w: Tensor) -> Tensor:
        """``(E, S, width)`` to the same shape."""
        before = self.norms[0](w)
        a = w + self.attention(before, before)
        joined: Tensor = self.norms[2](a + self.feed(self.norms[1](a)))
        return joined
