"""Which cell of a geometry contains a point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core.geometry import Geometry, Layer


@dataclass(frozen=True)
class _Raster:
    """Layers that share axes and edges.

    Args:
        layers: Their positions in the geometry.
        layer: One of them.
    """

    layers: tuple[int, ...]
    layer: Layer

    def cell(self, first: Tensor, second: Tensor) -> Tensor:
        """Number of the cell within the layer that contains each transverse position."""
        rows, cols = (torch.tensor(edges, dtype=torch.float64) for edges in self.layer.edges)
        if self.layer.axes == ("alpha", "r"):
            first, second = torch.atan2(second, first), torch.hypot(first, second)
        row = (torch.bucketize(first, rows, right=True) - 1).clamp(0, len(rows) - 2)
        col = (torch.bucketize(second, cols, right=True) - 1).clamp(0, len(cols) - 2)
        return row * self.layer.shape[1] + col


class CellFinder:
    """Numbers of the cells that contain points.

    A point falls into the layer of nearest depth and there into the cell that contains it, the outermost
    cell for a point outside.

    Args:
        geometry: Where the cells are.
    """

    def __init__(self, geometry: Geometry) -> None:
        groups: dict[object, list[int]] = {}
        for number, layer in enumerate(geometry.layers):
            groups.setdefault((layer.axes, layer.edges), []).append(number)
        self.rasters = tuple(
            _Raster(tuple(numbers), geometry.layers[numbers[0]]) for numbers in groups.values()
        )
        depths = torch.tensor([layer.depth for layer in geometry.layers], dtype=torch.float64)
        self.order = depths.argsort()
        self.middles = (depths[self.order][1:] + depths[self.order][:-1]) / 2
        self.first_cell = torch.tensor([0, *geometry.sizes]).cumsum(0)

    def __call__(self, first: Tensor, second: Tensor, depth: Tensor) -> Tensor:
        """Flat voxel numbers ``(P,)`` of points.

        Args:
            first: Transverse position as :meth:`~simulacra.core.geometry.Layer.cartesian` has it
                ``(P,)``, float64 on the CPU.
            second: The other one.
            depth: Position along the shower axis.
        """
        layer = self.order[torch.bucketize(depth.contiguous(), self.middles)]
        cell = torch.zeros_like(layer)
        for raster in self.rasters:
            mine = torch.isin(layer, torch.tensor(raster.layers))
            cell[mine] = raster.cell(first[mine], second[mine])
        return self.first_cell[layer] + cell
