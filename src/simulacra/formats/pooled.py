"""Data sets 2 and 3 of the CaloChallenge in larger voxels: neighbouring layers, angles and radii are joined.

Files of either size are read: those of the data set itself, whose energies are summed within each larger
voxel, and those of larger voxels, which are what is written. The larger voxels are a data set of their own:
there is no way back, and no figure of theirs is one of the finer data set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import h5py
import torch
from torch import Tensor

from simulacra.core import Batch, Geometry, Layer, Spec, UserError
from simulacra.core.ranges import Count
from simulacra.formats.calochallenge import CaloChallenge, geometry_of
from simulacra.formats.hdf5 import Array, event_shape


class PooledChallenge(CaloChallenge):
    """See the module's docstring.

    Args:
        spec: The finer data set, a grid.
        pool: Layers, rows and columns that are joined, divisors of the grid's.

    Raises:
        UserError: If they do not divide the grid.
    """

    def __init__(self, spec: Spec, pool: Sequence[Count]) -> None:
        self.fine, self.pool = spec, tuple(pool)
        if spec.kind != "grid" or len(self.pool) != 3:
            raise UserError(
                f"larger voxels need a grid and three numbers of cells to join, got {spec.kind} and "
                f"pool={list(self.pool)}"
            )
        if any(n % k for n, k in zip(spec.shape, self.pool, strict=True)):
            raise UserError(
                f"pool={list(self.pool)} does not divide the {'x'.join(map(str, spec.shape))} cells of "
                f"{spec.name}"
            )
        geometry = _joined(geometry_of(spec), self.pool)
        super().__init__(
            spec.with_(
                name=f"{spec.name}_coarse",
                shape=geometry.padded_shape,
                geometry=geometry,
            )
        )

    @property
    def chunk(self) -> int:
        """Events that are streamed at once, in finer voxels."""
        return max(1, super().chunk // math.prod(self.pool))

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each, in finer voxels where the file has them."""
        found = super().columns(file)
        if file is not None:
            cells = event_shape(file, Path(file.filename), "showers") or ()
            if math.prod(cells) == self.fine.n_voxels:
                return found | {"showers": (self.fine.n_voxels,)}
        return found

    def axes(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As of the base class, in voxels of either size."""
        return self.fine.shape if shape == (self.fine.n_voxels,) else super().axes(key, shape)

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key; finer voxels are summed."""
        showers = arrays["showers"]
        if showers[0].size != self.fine.n_voxels:
            return super().decode(arrays, path)
        fine = torch.from_numpy(showers.astype("float32")).reshape(-1, *self.fine.shape)
        return super().decode(arrays | {"showers": self.pooled(fine).numpy()}, path)

    def pooled(self, x: Tensor) -> Tensor:
        """Sums of finer voxels ``(B, *fine)`` within each larger one ``(B, *coarse)``."""
        for axis, count in enumerate(self.pool, 1):
            x = x.unflatten(axis, (-1, count)).sum(axis + 1)
        return x


def _joined(geometry: Geometry, pool: Sequence[int]) -> Geometry:
    """The geometry whose layers, rows and columns are neighbours joined."""
    depth = pool[0]
    stacks = [geometry.layers[i : i + depth] for i in range(0, len(geometry), depth)]
    return Geometry(
        tuple(
            Layer(
                number,
                stack[0].axes,
                (stack[0].edges[0][:: pool[1]], stack[0].edges[1][:: pool[2]]),
                sum(layer.depth for layer in stack) / depth,
                stack[0].periodic,
            )
            for number, stack in enumerate(stacks)
        )
    )
