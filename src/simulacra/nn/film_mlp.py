r"""A residual network of vectors whose blocks are scaled and shifted by what is known.

.. math:: h \leftarrow S g + f(g), \qquad g = (1 + a(e))\, h + b(e),

with an embedding :math:`e` of time and context: each block modulates its input feature by feature, and adds
two layers with :math:`\phi` and dropout to a linear shortcut of the result.

Reference: CaloScore v2, arXiv:2308.03847, section 3; FiLM, arXiv:1709.07871.
"""

from __future__ import annotations

from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.core.ranges import Count, Dropout
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.known import Known
from simulacra.nn.parted import Parted


class FilmBlock(nn.Module):
    """See the module's docstring.

    Args:
        width: Width of ``h``, and of the embedding.
        dropout: Probability to drop a unit.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.film = nn.Linear(width, 2 * width)
        self.shortcut = nn.Linear(width, width)
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Linear(width, width), nn.LeakyReLU(), RandomDrop(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, h: Tensor, known: Tensor) -> Tensor:
        """``(B, width)`` both, to ``(B, width)``."""
        scale, shift = self.film(known).chunk(2, -1)
        h = (1 + scale) * h + shift
        value: Tensor = self.shortcut(h) + self.layers(h)
        return value


class FilmMLP(Parted, nn.Module):
    """See the module's docstring; starts at zero.

    Args:
        layout: Numbers per event ``D`` and the context.
        hidden: Width of ``h``.
        blocks: Number of blocks.
        known: Width of the embeddings of the time and of the context, an even number.
        dropout: Probability to drop a unit.
    """

    EMBEDDERS = ("known", "embed", "first")
    HEAD = ("last",)

    def __init__(
        self, layout: Layout, hidden: Count, blocks: Count, known: Count, dropout: Dropout
    ) -> None:
        super().__init__()
        self.known = Known(layout, known, nn.LeakyReLU)
        self.embed = nn.Sequential(nn.Linear(self.known.width, hidden), nn.LeakyReLU())
        self.first = nn.Linear(layout.features, hidden)
        self.blocks = nn.ModuleList(FilmBlock(hidden, dropout) for _ in range(blocks))
        self.last = nn.Linear(hidden, layout.features)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, D)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, D)``."""
        known = self.embed(self.known(t, context))
        h = self.first(x)
        for block in self.blocks:
            h = block(h, known)
        value: Tensor = self.last(h)
        return value
