r"""Calibration of a spectrum: generated values mapped so that together they are distributed as true ones.

With the quantile functions of the true and the generated cell energies above a floor, of weighted
events,

.. math:: x \to Q_{true}(F_{generated}(x)),

rising and piecewise linear between nodes, which lie as densely in the tail as in the bulk
(:mod:`simulacra.transforms.maps.quantile`). Empty cells stay empty and no cell falls below the
floor.

Reference: convolutional L2LFlows, arXiv:2405.20407, with a cubic spline through nodes that are evenly spaced
in the logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Field
from simulacra.core.ranges import Whole
from simulacra.transforms.base import Batches
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.maps.quantile import QuantileMap

LARGEST = 1_000_000
"""Values of a spectrum that are used, at most; evenly spaced ones of a longer list."""


class SpectrumCalibration(Calibration):
    """See the module's docstring.

    Args:
        fields: Fields that the generator is given.
        events: True events that are remembered: their cells as the true spectrum, their fields to generate
            the other for.
        nodes: Number of nodes.
    """

    def __init__(self, fields: Sequence[Field], events: Whole, nodes: int = 128) -> None:
        super().__init__(fields, events)
        self.true, self.generated = QuantileMap(1, nodes), QuantileMap(1, nodes)

    def fit_true(self, batches: Batches, floor: float) -> None:
        """Remember cells at or above the floor and the fields of the first true events."""
        first = self.remember(batches)
        if first is not None:
            self._fit(self.true, replace(first, x=torch.where(first.x < floor, 0.0, first.x)), 0)

    def fit_generated(self, batch: Batch) -> None:
        """Take the spectrum of uncalibrated generated cells; zeros do not count."""
        self._fit(self.generated, batch.to(self.asked.device), 1)

    def forward(self, x: Tensor, floor: Tensor) -> Tensor:
        """Calibrated cells of the same shape, exactly 0 or at least ``floor``."""
        if not self.active:
            return x
        filled = x > 0
        column = self.true.inverse(self.generated(x[filled][:, None]))[:, 0]
        return torch.zeros_like(x).masked_scatter(filled, torch.maximum(column, floor.to(column)))

    def _fit(self, side: QuantileMap, batch: Batch, number: int) -> None:
        cells = batch.x.flatten(1)
        event, cell = torch.nonzero(cells > 0, as_tuple=True)
        if len(event) < 2:
            return
        stride = -(-len(event) // LARGEST)
        values = cells[event, cell][::stride, None]
        side.fit(values, weight=None if batch.weight is None else batch.weight[event[::stride]])
        self.known[number] = True
