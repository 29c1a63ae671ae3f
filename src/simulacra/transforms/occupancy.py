r"""Calibration of the occupancy: as many points as give the true number of hit cells.

Points of a shower are summed in readout cells. Where generated points share cells less often (or more often)
than true ones, the same number of points gives another number of hits. With the mean hits of true and of
generated showers of :math:`N` points,

.. math:: N \to h_{generated}^{-1}(h_{true}(N)),

both as parabolas in logarithms over the fitted range and straight lines beyond it, within a factor of four:
points of a network that has learnt little may never give so many hits. Means are those of weighted events.

Reference: CaloClouds II, arXiv:2309.05704, section 3, with ratios of cubic polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.core.cells import CellFinder
from simulacra.transforms.base import Batches
from simulacra.transforms.calibration import Calibration

LARGEST = math.log(1e6)
"""Where the tabulated logarithm of a number of points ends."""
FACTOR = 4.0
"""By which a number of points is changed, at most."""


class OccupancyCalibration(Calibration):
    """See the module's docstring.

    Args:
        spec: The data set, of kind cloud; without a geometry nothing is calibrated.
        given: Names of the given fields.
        columns: Which features are the two transverse positions, the depth and the energy.
        events: True events that are remembered, 0 for no calibration.
    """

    rounds = (0.25, 1.0)  # the first only leads near the numbers of points that are used in the end
    curves: Tensor
    spans: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[str], columns: Sequence[int], events: int
    ) -> None:
        geometry = spec.geometry
        super().__init__([spec.field(name) for name in given], 0 if geometry is None else events)
        self.columns, self.cut = tuple(columns), max(spec.cut, 1e-12)
        self.cells = 0 if geometry is None else geometry.n_voxels
        self.find = None if geometry is None else CellFinder(geometry)
        self.register_buffer("curves", torch.zeros(2, 3, dtype=torch.float64))
        self.register_buffer("spans", torch.zeros(2, 2, dtype=torch.float64))

    def fit_true(self, batches: Batches) -> None:
        """Hits against points of the first true events, whose fields are kept."""
        first = self.remember(batches)
        if first is not None:
            self._fit(0, first)

    def fit_generated(self, batch: Batch) -> None:
        """Hits against points of generated events."""
        self._fit(1, batch)

    def forward(self, number: Tensor) -> Tensor:
        """Calibrated numbers of points ``(B,)`` of those that the true showers would have."""
        if not self.active:
            return number
        start = number.double().clamp_min(1).log()
        wanted = self._hits(0, start)
        points = torch.linspace(0, LARGEST, 1024, dtype=torch.float64, device=number.device)
        hits = self._hits(1, points).cummax(0).values
        above = torch.searchsorted(hits, wanted).clamp(1, len(hits) - 1)
        low, high = hits[above - 1], hits[above]
        share = ((wanted - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
        made = points[above - 1] + share * (points[above] - points[above - 1])
        change = (made - start).clamp(-math.log(FACTOR), math.log(FACTOR))
        return torch.where(number < 1, number, number * change.exp().to(number))

    def counts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Points, and cells at or above the cut, of every event ``(B,)``."""
        if batch.mask is None or self.find is None:
            raise ValueError("hits are counted for clouds of a data set with a geometry")
        mask = batch.mask.cpu()
        event = mask.nonzero()[:, 0]
        points = batch.x.cpu()[mask].double()
        first, second, depth, energy = (points[:, i] for i in self.columns)
        cells, place = torch.unique(
            event * self.cells + self.find(first, second, depth), return_inverse=True
        )
        summed = torch.zeros(len(cells), dtype=torch.float64).index_add_(0, place, energy)
        hit = cells[summed >= self.cut] // self.cells
        return mask.sum(1), torch.bincount(hit, minlength=len(batch))

    def _fit(self, side: int, batch: Batch) -> None:
        """Parabola of the logarithm of the hits against that of the points, over events that have both."""
        points, hits = self.counts(batch)
        weight = batch.weight_or_one().cpu().double()
        used = (points > 0) & (hits > 0) & (weight != 0)
        x, y = points[used].double().log(), hits[used].double().log()
        if len(x.unique()) < 3:
            return
        self.curves[side] = _parabola(x, y, weight[used]).to(self.curves)
        self.spans[side] = torch.stack([x.min(), x.max()]).to(self.spans)
        self.known[side] = True

    def _hits(self, side: int, x: Tensor) -> Tensor:
        """Logarithm of the mean hits at logarithms ``x`` of the number of points."""
        (constant, slope, bend), (low, high) = self.curves[side], self.spans[side]
        inside = torch.minimum(torch.maximum(x, low), high)
        steep = slope + 2 * bend * inside
        return constant + (slope + bend * inside) * inside + steep * (x - inside)


def _parabola(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Least-squares coefficients of 1, ``x``, ``x^2`` of weighted events; by plain sums, which repeat bit for
    bit.
    """
    middle, width = x.mean(), x.std()
    u = (x - middle) / width
    powers = torch.stack([torch.ones_like(u), u, u * u], 1)
    weighted = powers * weight[:, None]
    gram = (weighted[:, :, None] * powers[:, None]).sum(0)
    a, b, c = torch.linalg.solve(gram, (weighted * y[:, None]).sum(0))
    slope, bend = b / width, c / width.square()
    return torch.stack(
        [a - slope * middle + bend * middle.square(), slope - 2 * bend * middle, bend]
    )
