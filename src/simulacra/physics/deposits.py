"""Showers of any calorimeter as a list of energies at points in space, for what is reconstructed from them.

Cells of a grid are points at their centres, the points of a cloud are themselves. Whatever looks at showers
through this list does not know which of the two they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import Geometry, Layer


@dataclass(frozen=True)
class Deposits:
    """Energies of some showers, in order of event.

    Args:
        event: Number of the event ``(n,)``, int64.
        layer: Number of the layer, counted from 0 ``(n,)``, int64.
        place: Position across the shower ``(n, 2)`` [mm], float64.
        energy: Energy ``(n,)`` [unit of the cells or points], float64.
        depths: Position of each layer along the shower ``(L,)`` [mm, or layers where none is published].
        axes: Names of the two axes across the shower.
        events: Number of events.
    """

    event: Tensor
    layer: Tensor
    place: Tensor
    energy: Tensor
    depths: Tensor
    axes: tuple[str, str]
    events: int

    def take(self, events: NDArray[np.int64]) -> Deposits:
        """Some of the events ``(k,)``, rising, counted anew."""
        place = np.full(self.events, -1)
        place[events] = np.arange(len(events))
        number = torch.from_numpy(place)[self.event]
        kept = number >= 0
        return replace(
            self,
            event=number[kept],
            layer=self.layer[kept],
            place=self.place[kept],
            energy=self.energy[kept],
            events=len(events),
        )

    @classmethod
    def cat(cls, parts: Sequence[Deposits]) -> Deposits:
        """The events of several lists, one list after the other."""
        starts = np.cumsum([0, *(item.events for item in parts)])
        event = [item.event + int(at) for item, at in zip(parts, starts[:-1], strict=True)]
        layer, place, energy = (
            torch.cat([getattr(item, name) for item in parts])
            for name in ("layer", "place", "energy")
        )
        first = parts[0]
        return cls(
            torch.cat(event), layer, place, energy, first.depths, first.axes, int(starts[-1])
        )

    def sums(self, values: Tensor) -> Tensor:
        """Sum per event ``(B,)``, float64, of one value per deposit ``(n,)``."""
        found = np.bincount(self.event.numpy(), values.numpy(), minlength=self.events)
        return torch.from_numpy(found.astype(np.float64))


class Cells:
    """Where the cells of a geometry begin and end, all in one table.

    Args:
        geometry: Their geometry.
    """

    def __init__(self, geometry: Geometry) -> None:
        layers = geometry.layers
        self.low = torch.cat([_corners(layer, slice(None, -1)) for layer in layers])
        self.high = torch.cat([_corners(layer, slice(1, None)) for layer in layers])
        polar = torch.tensor([layer.axes == ("alpha", "r") for layer in layers])
        self.polar = polar[geometry.layer_index]

    def anywhere(self, cell: Tensor, generator: torch.Generator) -> Tensor:
        """A random point of each cell ``(n,)``, even over its area: ``(n, 2)`` [mm], float64."""
        share = torch.rand(len(cell), 2, generator=generator, dtype=torch.float64)
        low, high, polar = self.low[cell], self.high[cell], self.polar[cell]
        plain = torch.lerp(low, high, share)
        radius = torch.lerp(low[:, 1].square(), high[:, 1].square(), share[:, 1]).sqrt()
        angle = plain[:, 0]
        round_ = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
        return torch.where(polar[:, None], round_, plain)


def _corners(layer: Layer, part: slice) -> Tensor:
    """One of the corners of each cell ``(cells, 2)``, in what rows and columns measure."""
    rows, cols = (torch.tensor(edges, dtype=torch.float64)[part] for edges in layer.edges)
    return torch.stack(torch.meshgrid(rows, cols, indexing="ij"), -1).flatten(0, 1)
