r"""Networks of vectors that are asked for at a time: a residual one, and a plain one.

The residual one is

.. math:: h_0 = W x, \qquad h_{l+1} = h_l + V_l\,\phi\bigl(U_l\,\phi(h_l) + T_l\,e\bigr),

with :math:`e` an embedding of the time and the context that every block sees, and a linear map of the last
:math:`\phi(h)`. The plain one sees features of the time, vector and context side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from simulacra.core import Layout
from simulacra.core.ranges import Count
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.mlp import MLP
from simulacra.nn.parted import Parted


class TimedMLP(Parted, nn.Module):
    """See the module's docstring.

    Args:
        layout: Numbers per event ``D`` and width of the context.
        hidden: Width of ``h``.
        blocks: Number of blocks.
        frequencies: Fourier frequencies of the time.
    """

    EMBEDDERS = ("time", "embed", "first")
    HEAD = ("last",)

    def __init__(self, layout: Layout, hidden: Count, blocks: Count, frequencies: Count) -> None:
        super().__init__()
        features, context = layout.features, layout.context
        self.time = FourierFeatures(frequencies)
        self.embed = nn.Linear(self.time.width + context, hidden)
        self.first = nn.Linear(features, hidden)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.steer = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(blocks))
        self.outer = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.last = nn.Linear(hidden, features)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, D)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, D)``."""
        seen = self.time(t) if context is None else torch.cat([self.time(t), context], 1)
        known = silu(self.embed(seen))
        h = self.first(x)
        for inner, steer, outer in zip(self.inner, self.steer, self.outer, strict=True):
            h = h + outer(silu(inner(silu(h)) + steer(known)))
        value: Tensor = self.last(silu(h))
        return value


class PlainTimedMLP(Parted, nn.Module):
    """Fully connected layers with ReLU of the time's features, the vector and the context.

    Of 78 numbers with a context of 16, 3 frequencies and the widths 128, 256, 512, 256, 128 it has 351,822
    parameters, the 0.35 million of PointCountFM.

    Reference: PointCountFM of AllShowers, arXiv:2601.11716; code FLC-QU-hep/PointCountFM, commit 8f82576.

    Args:
        layout: Numbers per event ``D`` and width of the context.
        hidden: Widths of the layers.
        frequencies: Fourier frequencies of the time.
    """

    EMBEDDERS = ("time",)

    def __init__(self, layout: Layout, hidden: Sequence[Count], frequencies: Count) -> None:
        super().__init__()
        self.time = FourierFeatures(frequencies)
        inputs = self.time.width + layout.features + layout.context
        self.net = MLP(inputs, layout.features, hidden, nn.ReLU)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, D)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, D)``."""
        parts = [self.time(t), x] if context is None else [self.time(t), x, context]
        value: Tensor = self.net(torch.cat(parts, 1))
        return value
