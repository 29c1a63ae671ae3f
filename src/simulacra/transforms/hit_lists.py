r"""Showers as lists of the cells that are hit.

A hit is the number of its layer, row and column and :math:`e = \ln(E / f)`, with a floor ``f`` below which a
cell counts as empty. Hits stand layer by layer, in each layer with falling energies, so that a shower has one
list. Points of a cloud are summed in the cells of the data set first; on the way back each hit is one point
in the middle of its cell.

What lies below the floor, and where in its cell a point lies, is lost, which the closure measures. Cells of a
grid at or above the floor come back as they were.

Reference: SPADE, arXiv:2606.11304, for the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError
from simulacra.core.cells import CellFinder
from simulacra.core.ranges import Count, NotNegative
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.cloud import energy_column
from simulacra.transforms.cloud_layers import depth_column


class HitLists(Transform):
    """One stage ``"hits"`` ``(B, N, 4)`` with a mask ``(B, N)``, see the module's docstring; ``N`` is the
    number of hits of the longest shower of a batch.

    Args:
        spec: Cells with a geometry, or a cloud of points in such cells.
        given: Fields that the generator is given.
        floor: ``f`` [unit of the data set]; None: the readout threshold, else the public cut, else the
            smallest energy of the training events.
        most: Largest number of hits (None: as many as the data set has cells or points).
    """

    exact = False
    floor: Tensor
    cells: Tensor
    places: Tensor
    centres: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        floor: NotNegative | None = None,
        most: Count | None = None,
    ) -> None:
        super().__init__(given)
        if spec.geometry is None:
            raise UserError(f"lists of hits need a geometry, {spec.name} has none")
        self.spec, self.geometry = spec, spec.geometry
        self.columns = columns_of(spec) if spec.kind == "cloud" else None
        room = self.geometry.n_voxels
        room = room if self.columns is None else min(room, spec.shape[0])
        self.most = room if most is None else min(most, room)
        fixed = floor or spec.threshold or spec.cut
        self.find_floor = fixed == 0
        self.register_buffer("floor", torch.tensor(float(fixed)))
        padded = self.geometry.padded_index
        _, rows, cols = self.geometry.padded_shape
        places = torch.stack([padded // (rows * cols), padded // cols % rows, padded % cols], -1)
        self.register_buffer("cells", self.geometry.mask(), persistent=False)
        self.register_buffer("places", places, persistent=False)  # (V, 3)
        self.register_buffer("centres", self.geometry.centres().float(), persistent=False)
        self.find = CellFinder(self.geometry)

    def fit_statistics(self, batches: Batches) -> None:
        """The floor, where neither settings nor the data set name it."""
        if not self.find_floor:
            return
        smallest = [
            energy.min() for energy in (self._hit(batch)[2] for batch in batches) if len(energy)
        ]
        if not smallest:
            raise UserError("the training showers have no hits")
        self.floor.copy_(torch.stack(smallest).min())

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`.

        Raises:
            UserError: If a shower has too many hits.
        """
        event, cell, energy = self._hit(batch)
        keep = energy >= self.floor
        event, cell, energy = event[keep], cell[keep], energy[keep]
        order = energy.argsort(descending=True, stable=True)
        layer = self.places[cell, 0]
        order = order[(event * len(self.geometry) + layer)[order].argsort(stable=True)]
        event, cell, energy = event[order], cell[order], energy[order]
        counts = torch.bincount(event, minlength=len(batch))
        longest = int(counts.max()) if len(counts) else 0
        if longest > self.most:
            raise UserError(
                f"a shower of {self.spec.name} has {longest} hits from {float(self.floor):.4g} "
                f"{self.spec.unit} on, a list holds {self.most}: raise model.transform.most or the floor"
            )
        slot = torch.arange(len(event), device=event.device) - (counts.cumsum(0) - counts)[event]
        hits = self.floor.new_zeros(len(batch), max(longest, 1), 4)
        log = torch.log(energy.to(self.floor) / self.floor).clamp(min=0)
        hits[event, slot] = torch.cat([self.places[cell].to(log), log[:, None]], 1)
        mask = torch.arange(hits.shape[1], device=hits.device) < counts[:, None]
        unknown = batch.x.flatten(1).isnan().any(1)[:, None]
        hits[..., 3] = hits[..., 3].masked_fill(unknown, torch.nan)
        mask = mask | (unknown & (torch.arange(hits.shape[1], device=hits.device) == 0))
        given = batch.conditions(self.conditions.names)
        return Latent({"hits": hits}, self.condition(given), mask)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`."""
        assert latent.mask is not None
        hits, mask = latent.x["hits"], latent.mask
        energy = torch.where(mask, self.floor * hits[..., 3].exp(), 0.0)
        energy = torch.where(mask & (energy < self.floor), self.floor, energy)
        unknown = mask & hits[..., :3].isnan().any(-1)
        energy = energy.masked_fill(unknown, torch.nan)
        cell = self._voxels(torch.where((mask & ~unknown)[..., None], hits[..., :3], 0.0).long())
        known = dict(cond.values)
        if self.columns is None:
            flat = energy.new_zeros(len(hits), self.geometry.n_voxels).scatter_add(1, cell, energy)
            return Batch(flat.unflatten(-1, self.spec.shape), known)
        x = energy.new_zeros(len(hits), self.spec.shape[0], self.spec.shape[1])
        points = torch.cat([self.centres[cell], energy[..., None]], -1)
        n = hits.shape[1]
        for column, value in zip(self.columns, points.unbind(-1), strict=True):
            x[:, :n, column] = torch.where(mask, value, 0.0)
        real = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        real[:, :n] = mask
        return Batch(x, known, {}, real)

    def log_det(self, latent: Latent) -> Tensor:
        """Log-determinant ``(B,)`` from the energies of hits [spec.unit] to their logarithms."""
        assert latent.mask is not None
        logs = latent.x["hits"][..., 3] + self.floor.log()
        return -torch.where(latent.mask, logs, 0.0).sum(1)

    def _hit(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Shower, cell and energy of each cell above 0, in the order of showers and cells."""
        if self.columns is None:
            flat = batch.x.flatten(1)
            event, cell = torch.nonzero(flat > 0, as_tuple=True)
            return event, cell, flat[event, cell]
        if batch.mask is None:
            raise UserError(f"{self.spec.name} events are clouds, but the batch has no mask")
        event, point = torch.nonzero(batch.mask, as_tuple=True)
        values = batch.x[event, point][:, list(self.columns)].cpu().double()
        cell = self.find(values[:, 0], values[:, 1], values[:, 2]).to(event.device)
        key, inverse = (event * self.geometry.n_voxels + cell).unique(return_inverse=True)
        energy = torch.zeros(len(key), dtype=torch.float64)
        energy = energy.index_add(0, inverse.cpu(), values[:, 3]).to(batch.x)
        return key // self.geometry.n_voxels, key % self.geometry.n_voxels, energy

    def _voxels(self, index: Tensor) -> Tensor:
        """Numbers of cells ``(B, N)`` from layers, rows and columns ``(B, N, 3)``."""
        flat = torch.full(self.cells.shape, 0, dtype=torch.long, device=index.device)
        flat[tuple(self.places.T)] = torch.arange(len(self.places), device=index.device)
        return flat[tuple(index.unbind(-1))]


def columns_of(spec: Spec) -> tuple[int, int, int, int] | None:
    """Columns of a point: two positions across the shower, depth and energy; None if it has others."""
    depth, energy = depth_column(spec.features), energy_column(spec.features)
    if depth is None or len(spec.features) != 4 or depth == energy:
        return None
    first, second = (i for i in range(4) if i not in (depth, energy))
    return first, second, depth, energy
