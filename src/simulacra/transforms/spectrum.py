r"""Calibration of a spectrum: generated values mapped so that together they are distributed as true ones.

With the quantile functions of the true and the generated cell energies above a floor,

.. math:: x \to Q_{true}(F_{generated}(x)),

rising and piecewise linear between nodes, which lie as densely in the tail as in the bulk
(:mod:`simulacra.transforms.quantile`). Empty cells stay empty and no cell falls below the floor.

Reference: convolutional L2LFlows, arXiv:2405.20407, with a cubic spline through nodes that are evenly spaced
in the logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field
from simulacra.transforms.base import Batches
from simulacra.transforms.quantile import QuantileMap

LARGEST = 1_000_000
"""Values of a spectrum that are used, at most; evenly spaced ones of a longer list."""


class SpectrumCalibration(nn.Module):
    """See the module's docstring; leaves events as they are until both spectra are known.

    Args:
        fields: Fields that the generator is given.
        events: True events that are remembered: their cells as the true spectrum, their fields to generate
            the other for.
        nodes: Number of nodes.
    """

    known: Tensor
    asked: Tensor

    def __init__(self, fields: Sequence[Field], events: int, nodes: int = 128) -> None:
        super().__init__()
        self.fields, self.events = tuple(fields), events
        self.true, self.generated = QuantileMap(1, nodes), QuantileMap(1, nodes)
        self.register_buffer("known", torch.zeros(2, dtype=torch.bool))
        width = sum(field.dim for field in fields)
        self.register_buffer("asked", torch.zeros(events, width, dtype=torch.float64))

    def fit_true(self, batches: Batches, floor: float) -> None:
        """Remember cells at or above the floor and the fields of the first true events."""
        parts: list[Batch] = []
        count = 0
        for batch in batches:
            if count >= self.events:
                break
            parts.append(batch[: self.events - count])
            count += len(parts[-1])
        if not parts:
            return
        first = Batch.cat(parts)
        values = first.conditions([field.name for field in self.fields]).values
        rows = torch.cat([values[field.name].double() for field in self.fields], dim=1)
        self.asked.copy_(rows[torch.arange(self.events) % len(rows)])
        self._fit(self.true, torch.where(first.x < floor, 0.0, first.x), 0)

    def conditions(self) -> Conditions:
        """What to generate events for, ``events`` of them."""
        columns = self.asked.split([field.dim for field in self.fields], dim=1)
        values = {
            field.name: column.float() if field.classes is None else column.long()
            for field, column in zip(self.fields, columns, strict=True)
        }
        return Conditions(self.events, values)

    def forget(self) -> None:
        """Leave events as they are, e.g. to generate uncalibrated ones."""
        self.known[1] = False

    def fit_generated(self, x: Tensor) -> None:
        """Take the spectrum of uncalibrated generated cells, any shape; zeros do not count."""
        self._fit(self.generated, x, 1)

    def forward(self, x: Tensor, floor: Tensor) -> Tensor:
        """Calibrated cells of the same shape, exactly 0 or at least ``floor``."""
        if not bool(self.known.all()):
            return x
        filled = x > 0
        column = self.true.inverse(self.generated(x[filled][:, None]))[:, 0]
        return torch.zeros_like(x).masked_scatter(filled, torch.maximum(column, floor.to(column)))

    def _fit(self, side: QuantileMap, x: Tensor, number: int) -> None:
        values = x[x > 0]
        if len(values) < 2:
            return
        side.fit(values[:: -(-len(values) // LARGEST), None])
        self.known[number] = True
