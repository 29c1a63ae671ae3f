"""Cells of a shower as convolutions see them: a volume where all layers are alike, else one line of numbers.

Between the levels of a U-Net blocks of cells are averaged, and each average is given back to all cells of its
block. A block that sticks out at an end is the average of the cells that exist: nothing is padded, and any
number of cells comes back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.nn.coordinates import coordinate_maps


class CellGrid(nn.Module):
    """Numbers in their order as a grid, with maps that tell a convolution where it is.

    Args:
        layout: How the numbers lie.

    Attributes:
        sizes: ``(L, rows, cols)`` where all layers have the same rows and columns, else ``(D,)``.
        periodic: Axis that closes on itself, or None.
        channels: Of the grid, one of the numbers and those of the maps.
    """

    maps: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        image = layout.image
        self.sizes: tuple[int, ...] = (
            (layout.features,) if image is None else (layout.features // math.prod(image), *image)
        )
        closed = image is not None and layout.periodic is not None
        self.periodic = 1 + (layout.periodic or 0) if closed else None
        axes = [axis for axis in range(len(self.sizes)) if axis != self.periodic]
        self.register_buffer("maps", coordinate_maps(self.sizes, axes), persistent=False)
        self.channels = 1 + len(self.maps)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D)`` to ``(B, channels, *sizes)``."""
        grid = x.unflatten(1, (1, *self.sizes))
        maps = self.maps.to(x).expand(x.shape[0], *[-1] * self.maps.ndim)
        return torch.cat([grid, maps], 1)


def pooled(x: Tensor, stride: Sequence[int]) -> Tensor:
    """Means of blocks of cells: ``(B, C, *sizes)`` to ``(B, C, *ceil(sizes / stride))``."""
    for axis, step in enumerate(stride, 2):
        blocks, rest = divmod(x.shape[axis], step)
        if rest == 0:
            x = x.unflatten(axis, (blocks, step)).mean(axis + 1)
            continue
        last = x.narrow(axis, blocks * step, rest).mean(axis, keepdim=True)
        whole = x.narrow(axis, 0, blocks * step).unflatten(axis, (blocks, step)).mean(axis + 1)
        x = torch.cat([whole, last], axis)
    return x


def spread(x: Tensor, stride: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Each block's value for all of its cells: ``(B, C, *ceil(sizes / stride))`` to ``(B, C, *sizes)``."""
    for axis, (step, size) in enumerate(zip(stride, sizes, strict=True), 2):
        blocks = list(x.shape)
        blocks.insert(axis + 1, step)
        x = x.unsqueeze(axis + 1).expand(blocks).flatten(axis, axis + 1).narrow(axis, 0, size)
    return x
