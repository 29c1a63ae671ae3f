"""Showers as tokens: boxes of neighbouring cells, and back.

Layers that are all alike are cut into boxes of ``(depth, rows, cols)`` cells. Layers that differ are cut into
boxes of one layer each, layer after layer. Where an axis does not divide, boxes are filled up with zeros,
which a linear map of a token does not see and which are dropped on the way back. Where a layer has one cell
along an axis, it is repeated to the length of the box, and on the way back the repeated cells are averaged,
so that all tokens hold as many numbers.

References: Peebles and Xie 2022, arXiv:2212.09748; for layers that differ arXiv:2601.05289.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import Geometry, UserError


@dataclass(frozen=True)
class _Raster:
    """Cells ``(L, R, C)`` and the boxes that they are cut into, see the module's docstring."""

    shape: tuple[int, int, int]
    box: tuple[int, int, int]

    @property
    def boxes(self) -> tuple[int, int, int]:
        """Boxes along each axis."""
        depth, rows, cols = (-(-n // p) for n, p in zip(self.shape, self.box, strict=True))
        return depth, rows, cols

    def split(self, x: Tensor) -> Tensor:
        """``(B, L R C)`` to ``(B, N, P)``."""
        x = x.unflatten(-1, self.shape)
        long = [p if n == 1 else n for n, p in zip(self.shape, self.box, strict=True)]
        x = x.expand(-1, *long)
        short = [m * p - n for m, p, n in zip(self.boxes, self.box, long, strict=True)]
        if any(short):
            x = functional.pad(x, [end for n in reversed(short) for end in (0, n)])
        cut = [n for pair in zip(self.boxes, self.box, strict=True) for n in pair]
        return x.unflatten(3, cut[4:]).unflatten(2, cut[2:4]).unflatten(1, cut[:2]).permute(
            0, 1, 3, 5, 2, 4, 6
        ).flatten(4).flatten(1, 3)  # fmt: skip

    def join(self, tokens: Tensor) -> Tensor:
        """The way back."""
        x = tokens.unflatten(2, self.box).unflatten(1, self.boxes).permute(0, 1, 4, 2, 5, 3, 6)
        x = x.flatten(5).flatten(3, 4).flatten(1, 2)
        for axis, (n, p) in enumerate(zip(self.shape, self.box, strict=True), 1):
            x = x.mean(axis, keepdim=True) if n == 1 and p > 1 else x.narrow(axis, 0, n)
        return x.flatten(1)


class Patches:
    """See the module's docstring.

    Args:
        geometry: Where the cells lie, ``V`` of them.
        box: Layers, rows and columns of a box.

    Raises:
        UserError: If the box has no cell, or joins layers that differ.
    """

    def __init__(self, geometry: Geometry, box: Sequence[int]) -> None:
        if len(box) != 3 or min(box) < 1:
            raise UserError(
                f"a patch has layers, rows and columns of cells, at least one of each, got {list(box)}"
            )
        depth, rows, cols = box
        if geometry.regular:
            shapes = [(len(geometry), *geometry.layers[0].shape)]
        elif depth == 1:
            shapes = [(1, *layer.shape) for layer in geometry.layers]
        else:
            raise UserError(
                f"layers of different shapes cannot share a patch: give it one layer, not {depth}"
            )
        self.rasters = [_Raster(shape, (depth, rows, cols)) for shape in shapes]
        self.cells = [math.prod(raster.shape) for raster in self.rasters]
        self.counts = [math.prod(raster.boxes) for raster in self.rasters]
        self.size = math.prod(box)
        """Numbers of a token, ``P``."""
        (closed,) = {layer.periodic for layer in geometry.layers} if geometry.regular else (None,)
        self.periodic = None if closed is None else 1 + closed
        """Axis of :meth:`places` that closes on itself, or None."""

    @property
    def count(self) -> int:
        """Tokens, ``N``."""
        return sum(self.counts)

    def split(self, x: Tensor) -> Tensor:
        """Cells ``(B, V)`` to tokens ``(B, N, P)``."""
        parts = zip(self.rasters, x.split(self.cells, dim=1), strict=True)
        return torch.cat([raster.split(part) for raster, part in parts], dim=1)

    def join(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, N, P)`` to cells ``(B, V)``."""
        parts = zip(self.rasters, tokens.split(self.counts, dim=1), strict=True)
        return torch.cat([raster.join(part) for raster, part in parts], dim=1)

    def places(self) -> Tensor:
        """Numbers of each token along depth, rows and columns, int64 ``(N, 3)``."""
        found = []
        for number, raster in enumerate(self.rasters):
            places = torch.cartesian_prod(*(torch.arange(n) for n in raster.boxes))
            found.append(places + torch.tensor([number, 0, 0]))
        return torch.cat(found)

    def extents(self) -> Tensor:
        """How many tokens stand along each axis where a token stands, int64 ``(N, 3)``."""
        depth = sum(raster.boxes[0] for raster in self.rasters)
        rows = [torch.tensor([[depth, *raster.boxes[1:]]]) for raster in self.rasters]
        return torch.cat([r.expand(n, -1) for r, n in zip(rows, self.counts, strict=True)])

    def causal(self) -> Tensor:
        """Which tokens ``j`` a token ``i`` sees if none sees a later layer, bool ``(N, N)``."""
        depth = self.places()[:, 0]
        return depth[:, None] >= depth[None, :]
