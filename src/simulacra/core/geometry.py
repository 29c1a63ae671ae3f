"""Detector geometry: how voxels of a shower, an image stack or a table of cells lie in space.

A geometry is a tuple of layers. Layer ``l`` is a ``rows x cols`` raster with bin edges on both
axes, so that a shower
has three exact and interchangeable forms: flat ``(B, V)`` with layer-major, row-major order (the
order of the public files), a list of ``(B, rows_l, cols_l)``, and padded ``(B, L, max rows, max
cols)`` with a mask of real cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from simulacra.core.strict import read

AxisName = Literal["alpha", "r", "eta", "phi", "x", "y", "z", "u", "v"]


@dataclass(frozen=True)
class Layer:
    """One layer of cells.

    Args:
        id: The data set's own number of the layer (CaloChallenge's dataset 1 has 0, 1, 2, 3, 12);
            it names features.
        axes: What rows and columns measure, e.g. ``("alpha", "r")``.
        edges: Bin edges along rows and columns, ``rows + 1`` and ``cols + 1`` numbers, in mm or
            rad.
        depth: Position along the shower axis [mm, or the layer's index where no position is
            published].
        periodic: Which axis closes on itself (0 rows, 1 columns), or None.
    """

    id: int
    axes: tuple[AxisName, AxisName]
    edges: tuple[tuple[float, ...], tuple[float, ...]]
    depth: float
    periodic: int | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(
                f"layer {self.id} has shape {self.shape}: it needs at least two edges on each axis"
            )
        for axis, edges in zip(self.axes, self.edges, strict=True):
            if any(high <= low for low, high in pairwise(edges)):
                raise ValueError(
                    f"layer {self.id} has edges along {axis} that do not rise: {edges}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, cols)``."""
        return len(self.edges[0]) - 1, len(self.edges[1]) - 1

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    def centres(self) -> tuple[Tensor, Tensor]:
        """Middles of the bins along rows ``(rows,)`` and columns ``(cols,)``, float64, in the
        edges' units.
        """
        rows, cols = (torch.tensor(edges, dtype=torch.float64) for edges in self.edges)
        return (rows[1:] + rows[:-1]) / 2, (cols[1:] + cols[:-1]) / 2

    def cartesian(self) -> tuple[Tensor, Tensor]:
        """Transverse position of each cell, two tensors of shape ``(rows, cols)``, float64.

        For ``("alpha", "r")`` layers these are ``r cos(alpha)`` and ``r sin(alpha)`` [mm], the
        CaloChallenge's eta-like and phi-like directions; else the bin middles themselves.
        """
        rows, cols = torch.meshgrid(*self.centres(), indexing="ij")
        if self.axes == ("alpha", "r"):
            return cols * torch.cos(rows), cols * torch.sin(rows)
        return rows, cols


@dataclass(frozen=True)
class Geometry:
    """A stack of layers and the exact maps between the three forms of a shower."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a geometry needs at least one layer")

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Cells per layer."""
        return tuple(layer.size for layer in self.layers)

    @cached_property
    def n_voxels(self) -> int:
        """Cells in all layers together, ``V``."""
        return sum(self.sizes)

    @property
    def regular(self) -> bool:
        """Whether all layers have the same shape."""
        return len({layer.shape for layer in self.layers}) == 1

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """``(L, max rows, max cols)``."""
        rows, cols = zip(*(layer.shape for layer in self.layers), strict=True)
        return len(self.layers), max(rows), max(cols)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Layers of a flat shower: ``(B, V)`` to a list of ``(B, rows_l, cols_l)``."""
        self._check(flat)
        parts = torch.split(flat, list(self.sizes), dim=-1)
        return [
            part.unflatten(-1, layer.shape) for part, layer in zip(parts, self.layers, strict=True)
        ]

    def join(self, layers: Sequence[Tensor]) -> Tensor:
        """Inverse of :meth:`split`."""
        return torch.cat([layer.flatten(-2) for layer in layers], dim=-1)

    def pad(self, flat: Tensor) -> Tensor:
        """``(B, V)`` to ``(B, L, max rows, max cols)``, zero outside :meth:`mask`."""
        self._check(flat)
        padded = flat.new_zeros(*flat.shape[:-1], math.prod(self.padded_shape))
        padded[..., self.padded_index.to(flat.device)] = flat
        return padded.unflatten(-1, self.padded_shape)

    def unpad(self, padded: Tensor) -> Tensor:
        """Inverse of :meth:`pad`: what lies outside the mask is dropped."""
        return padded.flatten(-3).index_select(-1, self.padded_index.to(padded.device))

    def mask(self) -> Tensor:
        """Cells of the padded form that exist, bool ``(L, max rows, max cols)``."""
        mask = torch.zeros(math.prod(self.padded_shape), dtype=torch.bool)
        mask[self.padded_index] = True
        return mask.view(self.padded_shape)

    @cached_property
    def padded_index(self) -> Tensor:
        """Where flat voxel ``v`` stands in the flattened padded form, int64 ``(V,)``."""
        _, rows, cols = self.padded_shape
        parts = []
        for number, layer in enumerate(self.layers):
            r, c = layer.shape
            cells = torch.arange(r)[:, None] * cols + torch.arange(c)[None, :]
            parts.append(number * rows * cols + cells.flatten())
        return torch.cat(parts)

    @cached_property
    def layer_index(self) -> Tensor:
        """Position (not id) of the layer each flat voxel lies in, int64 ``(V,)``."""
        return torch.repeat_interleave(torch.arange(len(self.layers)), torch.tensor(self.sizes))

    def layer_sums(self, flat: Tensor) -> Tensor:
        """Sum over each layer: ``(B, V)`` to ``(B, L)``."""
        self._check(flat)
        if self.regular:
            return flat.unflatten(-1, (len(self.layers), -1)).sum(-1)
        return torch.stack(
            [part.sum(-1) for part in torch.split(flat, list(self.sizes), dim=-1)], dim=-1
        )

    def spread(self, per_layer: Tensor) -> Tensor:
        """Give each voxel its layer's value: ``(B, L)`` to ``(B, V)``."""
        return per_layer.index_select(-1, self.layer_index.to(per_layer.device))

    def centres(self) -> Tensor:
        """Cell centres ``(V, 3)``: two transverse coordinates [mm] (:meth:`Layer.cartesian`) and
        the depth.
        """
        parts = []
        for layer in self.layers:
            first, second = layer.cartesian()
            parts.append(
                torch.stack([first, second, torch.full_like(first, layer.depth)], -1).flatten(0, 1)
            )
        return torch.cat(parts)

    def to_dict(self) -> dict[str, object]:
        """Plain types only."""
        return {"layers": [asdict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, values: object) -> Geometry:
        """Inverse of :meth:`to_dict`.

        Raises:
            UserError: If entries are missing, unknown or of another type than they should be.
        """
        found: Geometry = read(cls, values, "the geometry")
        return found

    def _check(self, flat: Tensor) -> None:
        if flat.shape[-1] != self.n_voxels:
            raise ValueError(
                f"a flat shower has {flat.shape[-1]} voxels, the geometry {self.n_voxels}"
            )


def regular_grid(
    layers: int,
    edges: tuple[Sequence[float], Sequence[float]],
    axes: tuple[AxisName, AxisName] = ("x", "y"),
    depths: Sequence[float] | None = None,
    periodic: int | None = None,
) -> Geometry:
    """A stack of ``layers`` equal rasters; ``depths`` default to the layers' indices."""
    rows, cols = tuple(map(float, edges[0])), tuple(map(float, edges[1]))
    positions = range(layers) if depths is None else depths
    return Geometry(
        tuple(
            Layer(i, axes, (rows, cols), float(z), periodic)
            for i, z in zip(range(layers), positions, strict=True)
        )
    )
