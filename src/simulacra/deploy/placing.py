"""Generated showers laid into the cells of a detector, at the place and in the direction of their particle.

A generator knows the energy in its voxels around the shower's axis, not where inside a voxel it lies.
Spread evenly it would make showers too wide, since the density falls away from the axis; here each voxel's
energy lies at points that follow an exponential through the mean densities of the voxel and of its outer
neighbour, taken over all showers so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulacra.core import UserError
from simulacra.core.geometry import Geometry, Layer
from simulacra.deploy.readout import cell_of

Array = NDArray[np.float64]
Index = NDArray[np.int64]
NODES = 33
"""Points of the tables from which places inside a voxel are drawn."""
MOST = 16
"""Points per voxel, at most."""
FINE = 4
"""Points per voxel where it is as large as the cell that it falls into."""


@dataclass(frozen=True)
class Placed:
    """Energies in a detector.

    Args:
        cells: In all cells ``(n, V)`` [the showers' unit].
        beside: Beside the cells of each layer ``(n, L)``.
    """

    cells: Array
    beside: Array


class Placer:
    """See the module's docstring.

    Args:
        showers: Voxels of the generator, around the shower's axis.
        detector: Cells that energies are laid into, as many layers.
        depths: Depth of each layer below the front of the detector [mm].

    Raises:
        UserError: If the numbers of layers differ.
    """

    def __init__(self, showers: Geometry, detector: Geometry, depths: Sequence[float]) -> None:
        if len(showers) != len(detector):
            raise UserError(
                f"the generator makes {len(showers)} layers, the detector has {len(detector)}: it was "
                "trained for another one"
            )
        self.showers, self.detector, self.depths = showers, detector, np.array(depths)
        self._sources = np.concatenate([[0], np.cumsum(showers.sizes)])
        self._targets = np.concatenate([[0], np.cumsum(detector.sizes)])
        self._sums = np.zeros(showers.n_voxels)

    def place(
        self, energies: Array, entry: Array, direction: Array, rng: np.random.Generator
    ) -> Placed:
        """Lay showers into the cells.

        Args:
            energies: Of all voxels ``(n, V)``, not negative.
            entry: Where the axes meet the front ``(n, 2)`` [mm].
            direction: Of the axes, unit vectors ``(n, 3)``.
            rng: Source of the places inside voxels.
        """
        self._sums += energies.sum(0)
        n, size = len(energies), self._targets[-1]
        cells, beside = np.zeros(n * size), np.zeros((n, len(self.detector)))
        slope = direction[:, :2] / direction[:, 2:]
        pairs = zip(self.showers.layers, self.detector.layers, strict=True)
        for k, (source, target) in enumerate(pairs):
            first, last = self._sources[k], self._sources[k + 1]
            own, sums = energies[:, first:last], self._sums[first:last].reshape(source.shape)
            points = points_of(source, target)
            row, voxel = (np.repeat(index, points) for index in own.nonzero())
            energy = own[row, voxel] / points
            x, y = places(source, sums, voxel, rng)
            shift = entry + slope * self.depths[k]
            cell = cell_of(target, x + shift[row, 0], y + shift[row, 1])
            hit = cell >= 0
            np.add.at(cells, row[hit] * size + self._targets[k] + cell[hit], energy[hit])
            np.add.at(beside[:, k], row[~hit], energy[~hit])
        return Placed(cells.reshape(n, size), beside)


def points_of(source: Layer, target: Layer) -> int:
    """How many points the energy of a voxel is cut into: one where voxels are much smaller than cells."""
    return int(min(MOST, max(1, math.ceil(FINE * _area(source) / _area(target)))))


def _area(layer: Layer) -> float:
    """Mean area of the cells of a layer [mm^2]."""
    first, second = layer.edges
    if layer.axes == ("alpha", "r"):
        return (second[-1] ** 2 - second[0] ** 2) / 2 * (first[-1] - first[0]) / layer.size
    return (first[-1] - first[0]) * (second[-1] - second[0]) / layer.size


def places(
    layer: Layer, sums: Array, voxel: Index, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Transverse places inside voxels of a layer, ``(m,)`` along either axis [mm].

    Args:
        layer: The layer, with the shower's axis at its origin.
        sums: Energy in each voxel of many showers ``(rows, cols)``.
        voxel: Flat numbers of the voxels ``(m,)``.
        rng: Source of randomness.
    """
    rows, cols = np.divmod(voxel, layer.shape[1])
    first, second = (np.array(edges) for edges in layer.edges)
    if layer.axes == ("alpha", "r"):
        angle = first[rows] + rng.random(len(rows)) * np.diff(first)[rows]
        radius = drawn(second, sums.sum(0), cols, rng, ring=True)
        return radius * np.cos(angle), radius * np.sin(angle)
    return drawn(first, sums.sum(1), rows, rng), drawn(second, sums.sum(0), cols, rng)


def drawn(
    edges: Array, sums: Array, index: Index, rng: np.random.Generator, ring: bool = False
) -> Array:
    """Places inside bins ``(m,)``, by the densities of the bins and of their outer neighbours.

    Args:
        edges: Of the bins ``(k + 1,)``, distances from the axis at 0.
        sums: Energy in each bin ``(k,)``.
        index: The bins ``(m,)``.
        rng: Source of randomness.
        ring: Whether bins are rings, whose outer parts are larger.
    """
    nodes = edges[:-1, None] + np.linspace(0, 1, NODES) * np.diff(edges)[:, None]
    fall = falls(edges, sums, ring)[:, None] * np.abs(nodes)
    density = np.exp(fall.min(1, keepdims=True) - fall) * (nodes if ring else 1.0)
    between = (density[:, 1:] + density[:, :-1]) / 2
    filled = np.concatenate([np.zeros((len(sums), 1)), between.cumsum(1)], 1)
    filled /= filled[:, -1:]
    share = rng.random(len(index))
    found = np.empty(len(index))
    for k in np.unique(index):
        own = index == k
        found[own] = np.interp(share[own], filled[k], nodes[k])
    return found


def falls(edges: Array, sums: Array, ring: bool = False) -> Array:
    """How fast the density falls away from the axis in each bin ``(k,)`` [1/mm], 0 where it does not."""
    sizes = np.diff(edges**2) if ring else np.diff(edges)
    middles = (edges[1:] + edges[:-1]) / 2
    outward = np.where(middles < 0, -1, 1)
    neighbour = np.arange(len(sums)) + outward
    last = (neighbour < 0) | (neighbour >= len(sums))
    neighbour = np.clip(neighbour, 0, len(sums) - 1)
    density = np.maximum(sums / sizes, 0.0)
    distance = np.abs(middles[neighbour] - middles)
    known = (density > 0) & (density[neighbour] > 0) & ~last
    found = np.zeros(len(sums))
    found[known] = np.log(density[known] / density[neighbour][known]) / distance[known]
    inner = np.clip(np.arange(len(sums)) - outward, 0, len(sums) - 1)
    found[last] = found[inner[last]]  # the outermost bin falls as the one before it
    return np.maximum(found, 0.0)
