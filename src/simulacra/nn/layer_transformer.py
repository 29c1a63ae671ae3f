r"""Transformer of points whose layers are known, with attention to near layers alone.

A token is the sum of what point, layer, time with conditions, and numbers of points of all layers become;
blocks are normalised after each of their two sums, and attention has no layer of its own at its end.

Reference: AllShowers, arXiv:2601.11716, section 3; code FLC-QU-hep/AllShowers, commit 8bd0745.

Note:
    The window is symmetric. In the reference's code a window of ``n`` layers reaches from
    ``floor(-(n + 1) / 2)`` to ``n // 2``, for its ``n = 4`` from 3 layers on one side to 2 on the other;
    here it is 2 on both. Embeddings of layers start small.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core.ranges import Count, Whole
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.layer_window import Run, attend, in_order, runs
from simulacra.nn.mlp import MLP
from simulacra.nn.parted import Parted

START = 0.1
"""Width of the numbers that tell a layer before training; those of width 1 drown what a point is."""


class LayerBlock(nn.Module):
    """Attention and two layers with ReLU, each added and then normalised.

    Args:
        width: Of a token, a multiple of the number of heads.
        heads: Number of heads.
        hidden: Width between the two layers.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} heads")
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.inner = MLP(width, width, [hidden], nn.ReLU)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, h: Tensor, parts: list[Run]) -> Tensor:
        """Tokens ``(B, N, width)`` in the order of their layers."""
        split = self.project(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = self.norm1(h + attend(split[0], split[1], split[2], parts).transpose(1, 2).flatten(2))
        value: Tensor = self.norm2(h + self.inner(h))
        return value


class LayerTransformer(Parted, nn.Module):
    """See the module's docstring.

    With 78 layers, 16 conditions (12 classes of particle, three components of the direction, the energy),
    a width of 64, 4 blocks, 256 inside them, 512 for the numbers of points and 3 frequencies it has
    263,491 parameters, the 0.26 million of the reference's code.

    Args:
        features: ``F``, numbers of a point beside its layer.
        layers: ``L``.
        cond: ``C``, width of the conditions, may be 0.
        width: Width of a token.
        heads: Attention heads.
        blocks: Number of blocks.
        hidden: Width inside the blocks.
        counts: Width between the numbers of points of all layers and what they add to a token.
        window: Layers that a point sees to either side of its own.
        frequencies: Fourier frequencies of the time.
    """

    EMBEDDERS = ("time", "point", "layer", "condition", "counts")
    HEAD = ("head",)

    def __init__(
        self,
        features: int,
        layers: int,
        cond: int,
        width: Count,
        heads: Count,
        blocks: Count,
        hidden: Count,
        counts: Count,
        window: Whole,
        frequencies: Count,
    ) -> None:
        super().__init__()
        self.layers, self.window = layers, window
        self.time = FourierFeatures(frequencies)
        self.point, self.layer = nn.Linear(features, width), nn.Embedding(layers, width)
        nn.init.normal_(self.layer.weight, std=START)
        self.condition = nn.Linear(self.time.width + cond, width)
        self.counts = MLP(layers, width, [counts], nn.ReLU)
        self.blocks = nn.ModuleList(LayerBlock(width, heads, hidden) for _ in range(blocks))
        self.head = nn.Linear(width, features)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, layer: Tensor, context: Tensor) -> Tensor:
        """``(B, N, F)``, exactly 0 at padded points.

        Args:
            x: Points ``(B, N, F)`` in any order.
            t: Numbers ``(B,)`` in [0, 1] that tell the time.
            mask: Real points, bool ``(B, N)``.
            layer: Numbers of their layers, int64 ``(B, N)``.
            context: What tells of the numbers of points of all layers, then conditions, ``(B, L + C)``.
        """
        order = in_order(layer, mask)
        x, real, place = (_reordered(item, order) for item in (x, mask, layer))
        counts, cond = context[:, : self.layers], context[:, self.layers :]
        known = self.condition(torch.cat([self.time(t), cond], 1)) + self.counts(counts)
        h = self.point(x) + F.embedding(place, self.layer.weight) + known[:, None]
        parts = runs(place, real, self.window)
        for block in self.blocks:
            h = block(h, parts)
        made = self.head(h) * real[..., None]
        back = order[..., None].expand_as(made)
        return torch.zeros_like(made).scatter(1, back, made)


def _reordered(item: Tensor, order: Tensor) -> Tensor:
    """``(B, N)`` or ``(B, N, F)`` with its points in an order ``(B, N)``."""
    return item.gather(
        1, order if item.ndim == 2 else order[..., None].expand(-1, -1, item.shape[-1])
    )
