r"""The cloud view: voxels above zero as points.

A point is :math:`(x, y, d, e)`: the centre of its cell across the shower axis, the depth of its
layer, its energy. Back, a point falls into the layer of nearest depth and there into the cell that
contains it (the outermost cell for a point outside); energies of points in one cell add.
``inverse(forward(batch))`` is the batch itself.
"""

from __future__ import annotations

import torch

from simulacra.core import Batch, Field, Geometry, IncompatibleError, Spec, UserError
from simulacra.core.cells import CellFinder
from simulacra.core.ranges import Count
from simulacra.data.base import View


class CloudView(View):
    """Shows a grid or layers data set as a cloud of at most ``points`` points.

    Args:
        native: The data set.
        points: Width of the cloud; showers with more hit cells are refused.
    """

    def __init__(self, native: Spec, points: Count) -> None:
        if native.geometry is None or native.kind not in ("grid", "layers"):
            raise IncompatibleError(
                f"{native.name} has no view 'cloud': its events are of kind {native.kind}, "
                "a cloud needs cells in layers"
            )
        if points < 1:
            raise UserError(f"a cloud needs at least one point, got points={points}")
        self.native, self.points = native, min(points, native.n_voxels)
        self.geometry: Geometry = native.geometry
        self._centres = self.geometry.centres().float()
        self._find = CellFinder(self.geometry)
        self._spec = _cloud_spec(native, self.geometry, self.points)

    @property
    def spec(self) -> Spec:
        """The cloud."""
        return self._spec

    def forward(self, batch: Batch) -> Batch:
        """Hit cells in the order of the file, ``(B, points, 4)`` with a mask."""
        flat = batch.x.flatten(1)  # (B, V)
        hit = flat > 0
        counts = hit.sum(1)
        if len(flat) and int(counts.max()) > self.points:
            raise UserError(
                f"a shower of {self.native.name} has {int(counts.max())} hit cells, the cloud "
                f"holds {self.points}: raise data.views.cloud.points"
            )
        index = hit.flatten().nonzero()[:, 0]
        event = torch.div(index, flat.shape[1], rounding_mode="floor")
        skipped = (
            torch.arange(len(flat), device=flat.device) * self.points - counts.cumsum(0) + counts
        )
        slot = torch.arange(len(index), device=flat.device) + skipped[event]
        centres = self._centres.to(flat)[index - event * flat.shape[1]]  # (P, 3)
        x = flat.new_zeros(len(flat) * self.points, 4)
        x[slot] = torch.cat([centres, flat.flatten()[index, None]], dim=1)
        x = x.view(len(flat), self.points, 4)
        mask = torch.arange(self.points, device=flat.device) < counts[:, None]
        return Batch(x, batch.cond, batch.event, mask, batch.weight)

    def inverse(self, batch: Batch) -> Batch:
        """Sum of the points in each cell, ``(B, *native.shape)``."""
        if batch.mask is None:
            raise UserError(f"{self.spec.name} events are clouds, but the batch has no mask")
        event, slot = torch.nonzero(batch.mask.cpu(), as_tuple=True)
        points = batch.x.cpu()[event, slot].double()  # (P, 4)
        cell = self._find(points[:, 0], points[:, 1], points[:, 2])
        index = event * self.geometry.n_voxels + cell
        flat = torch.zeros(len(batch) * self.geometry.n_voxels, dtype=torch.float64).index_add_(
            0, index, points[:, 3]
        )
        x = flat.to(batch.x).view(len(batch), *self.native.shape)
        return Batch(x, batch.cond, batch.event, None, batch.weight)


def _cloud_spec(native: Spec, geometry: Geometry, points: int) -> Spec:
    layer = geometry.layers[0]
    polar = layer.axes == ("alpha", "r")
    names = ("x", "y") if polar else layer.axes
    reach = [
        max(max(map(abs, item.edges[1] if polar else item.edges[k])) for item in geometry.layers)
        for k in (0, 1)
    ]
    lows = [
        -reach[k] if polar else min(item.edges[k][0] for item in geometry.layers) for k in (0, 1)
    ]
    highs = [
        reach[k] if polar else max(item.edges[k][-1] for item in geometry.layers) for k in (0, 1)
    ]
    depths = sorted(item.depth for item in geometry.layers)
    first, last = (
        (depths[1] - depths[0], depths[-1] - depths[-2]) if len(depths) > 1 else (1.0, 1.0)
    )
    features = (
        *(
            # x and y of a cylinder know no seam; of other layers an axis may close on itself
            Field(name, "mm", low=low, high=high, periodic=not polar and layer.periodic == k)
            for k, (name, low, high) in enumerate(zip(names, lows, highs, strict=True))
        ),
        Field("depth", low=depths[0] - first / 2, high=depths[-1] + last / 2),
        Field("e", native.unit, low=0.0),
    )
    return native.with_(
        name=f"{native.name}+cloud",
        kind="cloud",
        shape=(points, 4),
        features=features,
        sample_batch=min(native.sample_batch, 256),
    )
