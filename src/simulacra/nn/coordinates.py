"""Maps of numbers over the cells of a grid of any number of axes, as further channels of convolutions.

A convolution treats all cells alike; maps of the coordinates tell it where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def coordinate_maps(sizes: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Coordinates from -1 to 1 along the axes, and their squares less a third: ``(2 A, *sizes)``.

    Args:
        sizes: Cells along each axis of the grid.
        axes: The ``A`` axes that have a map; one that closes on itself should have none.
    """
    lines = [torch.linspace(-1, 1, n) for n in sizes]
    grid = torch.meshgrid(*lines, indexing="ij")
    maps = [grid[axis] for axis in axes]
    return (
        torch.stack([*maps, *(m.square() - 1 / 3 for m in maps)])
        if maps
        else torch.zeros(0, *sizes)
    )


def constant_maps(given: Tensor, sizes: Sequence[int]) -> Tensor:
    """Numbers ``(B, G)`` as constant maps ``(B, G, *sizes)``."""
    return given[(..., *[None] * len(sizes))].expand(-1, -1, *sizes)
