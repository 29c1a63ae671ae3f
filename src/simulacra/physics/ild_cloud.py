r"""Observables of the CaloClouds photon showers (arXiv:2305.04847, 2309.05704).

Points are summed into the detector's cells (regular pitch :math:`p`, cell number :math:`\lfloor (x
- x_0)/p \rfloor`), cells below the cut (half a MIP) are dropped, and the 26 observables are:
centre of gravity along x, y (the depth) and z [mm], number of hits, visible over incident energy, the hit
spectrum, the energy in ten groups of layers and in ten rings around the shower axis.  The
published projection uses a map of the real cells that is not public; here cells are regular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.core.ranges import Positive
from simulacra.core.units import factor
from simulacra.formats.ild import LAYER_BOTTOMS, SENSOR
from simulacra.physics.base import (
    Axis,
    Image,
    ObservableSet,
    Profile,
    Ragged,
    even_edges,
    per_batch,
    weighed,
)
from simulacra.physics.deposits import Deposits


@dataclass(frozen=True)
class Hits:
    """Cells with energy at or above the cut, all events in one list.

    Args:
        event: Number of the event ``(H,)``.
        x: Cell centre [mm] ``(H,)``.
        z: Cell centre [mm] ``(H,)``.
        layer: Layer number ``(H,)``.
        energy: Energy [unit of the points] ``(H,)``, float64.
        events: Number of events.
    """

    event: Tensor
    x: Tensor
    z: Tensor
    layer: Tensor
    energy: Tensor
    events: int

    def where(self, keep: Tensor) -> Hits:
        """Some of the hits ``(H,)``."""
        kept = (value[keep] for value in (self.event, self.x, self.z, self.layer, self.energy))
        event, x, z, layer, energy = kept
        return Hits(event, x, z, layer, energy, self.events)

    def sums(self, values: Tensor) -> Tensor:
        """Sum per event ``(B,)`` of one value per hit."""
        return values.new_zeros(self.events).index_add_(0, self.event, values)

    def grouped(self, group: Tensor, groups: int) -> Tensor:
        """Energy per event and group ``(B, groups)``."""
        key = self.event * groups + group
        return (
            self.energy.new_zeros(self.events * groups)
            .index_add_(0, key, self.energy)
            .view(-1, groups)
        )


class ILDCloudObservables(ObservableSet):
    """The 26 observables of CaloClouds after projection to cells.

    A calorimeter whose axes have other names, or whose layers lie elsewhere, is a subclass.

    Args:
        spec: A cloud with the features ``x``, ``layer``, ``z`` and an energy.
        pitch: Cell size [mm].
        phase: Position of one cell edge along x and z [mm].
        origin: Where the shower axis crosses x and z [mm].
        layer_groups: Edges of the groups of layers, the last inclusive.
        rings: Edges of the rings around the axis [mm].
        occupancy: Range of the number of hits.
        visible: Range of the visible energy [MeV].
        spectrum: Range of the hit spectrum [MeV].

    Attributes:
        across: Names of the axes across the shower.
        along: Name of the axis along which layers follow each other, and its unit.
    """

    asked, ratio = r"$E_\mathrm{inc}$", r"$E_\mathrm{vis} / E_\mathrm{inc}$"
    across: ClassVar[tuple[str, str]] = ("x", "z")
    along: ClassVar[tuple[str, str]] = ("y", "mm")

    def __init__(
        self,
        spec: Spec,
        pitch: Positive,
        phase: Sequence[float],
        origin: Sequence[float],
        layer_groups: Sequence[float],
        rings: Sequence[float],
        occupancy: Sequence[float] | None = None,
        visible: Sequence[float] | None = None,
        spectrum: Sequence[float] = (0.01, 1000.0),
    ) -> None:
        super().__init__(spec)
        names = [field.name for field in spec.features]
        missing = {*self.across, "layer"} - set(names)
        if missing:
            raise UserError(
                f"observables of calorimeter points need the features {sorted(missing)}; got {names}"
            )
        self._columns = [names.index(name) for name in (*self.across, "layer", names[-1])]
        self.pitch, self.phase, self.origin = pitch, tuple(phase), tuple(origin)
        self.layer_groups = torch.tensor(layer_groups, dtype=torch.float64)
        self.rings = torch.tensor(rings, dtype=torch.float64)
        self._occupancy, self._visible, self._spectrum = occupancy, visible, tuple(spectrum)
        self._unit = factor(spec.by_role("energy").unit, spec.unit)
        self._mev = factor(spec.unit, "MeV")

    @per_batch
    def project(self, batch: Batch) -> Hits:
        """Cells of all events with at least ``spec.cut``."""
        hits = self._summed(batch)
        return hits.where(hits.energy >= max(self.spec.cut, 1e-12))

    def _mask(self, batch: Batch) -> Tensor:
        return batch.x[..., -1] > 0 if batch.mask is None else batch.mask

    def _summed(self, batch: Batch) -> Hits:
        """Cells of all events."""
        mask = self._mask(batch)
        event = mask.nonzero()[:, 0]
        x, z, layer, energy = (batch.x[mask][:, i].double() for i in self._columns)
        keys = [event, layer.round().long(), self._cell(x, 0), self._cell(z, 1)]
        cells, inverse = _unique_rows(keys)
        summed = energy.new_zeros(len(cells[0])).index_add_(0, inverse, energy)
        middle_x, middle_z = (
            self.phase[i] + (cells[i + 2].double() + 0.5) * self.pitch for i in (0, 1)
        )
        return Hits(cells[0], middle_x, middle_z, cells[1], summed, len(batch))

    @per_batch
    def __call__(self, batch: Batch) -> dict[str, Tensor | Ragged]:
        """Scalars ``(B,)`` and ``hit_energy`` [MeV], the cells at or above the cut; centres of an empty
        shower are NaN.
        """
        hits = self.project(batch)
        total = hits.sums(hits.energy)
        first, second = self.across
        places = {first: hits.x, self.along[0]: self.depth(hits.layer), second: hits.z}
        found: dict[str, Tensor | Ragged] = {
            f"cog_{name}": hits.sums(hits.energy * place) / total for name, place in places.items()
        }
        found["n_hit"] = hits.sums(torch.ones_like(hits.energy))
        found["e_tot"] = total * self._mev
        found["e_tot_over_e_inc"] = total / self._incident(batch)
        for name, energies in (("layers", self._groups(hits)), ("ring", self._ring_energies(hits))):
            for number in range(energies.shape[1]):
                found[f"energy_{name}_{number}"] = energies[:, number] * self._mev
        # the hits stand in the order of events
        counts = torch.bincount(hits.event, minlength=hits.events)
        found["hit_energy"] = Ragged(hits.energy * self._mev, counts)
        return found

    def depth(self, layer: Tensor) -> Tensor:
        """Position of layers along the shower, float64, in the unit of ``along``."""
        depths = torch.tensor(LAYER_BOTTOMS, dtype=torch.float64) + SENSOR / 2
        return depths[layer.clamp(0, len(depths) - 1)]

    def axes(self) -> dict[str, Axis]:
        """Published ranges where the data set gives them."""
        n_low, n_high = self._occupancy or (None, None)
        e_low, e_high = self._visible or (None, None)
        (first, second), (along, unit) = self.across, self.along
        found = {
            f"cog_{first}": Axis(f"centre of gravity along ${first}$", "mm", 30, category="centre"),
            f"cog_{along}": Axis("centre of gravity in depth", unit, 30, category="centre"),
            f"cog_{second}": Axis(
                f"centre of gravity along ${second}$", "mm", 30, category="centre"
            ),
            "n_hit": Axis("number of hits", "", 49, n_low, n_high, category="occupancy"),
            "e_tot": Axis("visible energy", "MeV", 49, e_low, e_high, category="energy"),
            "e_tot_over_e_inc": Axis(self.ratio, category="energy"),
        }
        for number, (low, high) in enumerate(
            zip(self.layer_groups[:-1], self.layer_groups[1:], strict=True)
        ):
            found[f"energy_layers_{number}"] = Axis(
                f"energy in layers {low:g} to {high:g}", "MeV", category="energy"
            )
        for number, (low, high) in enumerate(zip(self.rings[:-1], self.rings[1:], strict=True)):
            found[f"energy_ring_{number}"] = Axis(
                f"energy at {low:g} to {high:g} mm", "MeV", category="transverse"
            )
        found["hit_energy"] = Axis(
            "hit energy", "MeV", 69, self._spectrum[0], self._spectrum[1], log=True
        )
        return found

    def features(self, batch: Batch) -> Tensor:
        """log10 E_inc and the scalar observables (the published classifier's 25 and the energy sum)."""
        scalars = [value for value in self(batch).values() if isinstance(value, Tensor)]
        return torch.stack([self._incident(batch).log10(), *scalars], dim=1).nan_to_num(
            0.0, 0.0, 0.0
        )

    def response(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Incident energy and energy of the cells ``(B,)``, in the unit of the points."""
        hits = self.project(batch)
        return self._incident(batch), hits.sums(hits.energy)

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Energy per layer and per ring of one cell."""
        hits = self.project(batch)
        layers = round(float(self.layer_groups[-1])) + 1
        depth = hits.grouped(hits.layer.clamp(0, layers - 1), layers) * self._mev
        rings = 35
        ring = (self._radius(hits) / self.pitch).floor().long()
        inside = hits.where(ring < rings)
        radial = inside.grouped(ring[ring < rings], rings) * self._mev
        steps = torch.arange(rings + 1, dtype=torch.float64) * self.pitch
        axis, distance = Axis("layer", bins=layers), Axis("distance from the axis", "mm")
        return {
            "longitudinal": Profile(
                depth,
                torch.arange(layers + 1.0),
                axis,
                "mean energy per layer",
                "MeV",
                tuple(map(str, range(layers))),
            ),
            "radial": Profile(radial, steps, distance, "mean energy per ring", "MeV"),
        }

    def deposits(self, batch: Batch) -> Deposits:
        """The points themselves, uncut."""
        mask = self._mask(batch)
        x, z, layer, energy = (batch.x[mask][:, i].double() for i in self._columns)
        kept = energy > 0
        event, place = mask.nonzero()[:, 0][kept], torch.stack([x, z], 1)[kept]
        return self._deposits(event, layer[kept].round().long(), place, energy[kept], len(batch))

    def idealised(self, batch: Batch, generator: torch.Generator) -> Deposits:
        """The points summed into cells, uncut, at the centres of these: what a perfect sampler of a grid
        gives.
        """
        hits = self._summed(batch)
        place = torch.stack([hits.x, hits.z], 1)
        return self._deposits(hits.event, hits.layer, place, hits.energy, len(batch))

    def _deposits(
        self, event: Tensor, layer: Tensor, place: Tensor, energy: Tensor, events: int
    ) -> Deposits:
        layers = round(float(self.layer_groups[-1])) + 1
        depths = self.depth(torch.arange(layers))
        return Deposits(
            event, layer.clamp(0, layers - 1), place, energy, depths, self.across, events
        )

    def images(self, batch: Batch) -> dict[str, Image]:
        """Energy seen along the depth and from the side (the first axis across against the layer), 41 cells
        around the axis.
        """
        hits = self.project(batch)
        hits = replace(hits, energy=weighed(hits.energy, hits.event, batch))
        half = 20.5 * self.pitch
        edges = [even_edges(o - half, o + half, 41) for o in self.origin]
        layers = torch.arange(round(float(self.layer_groups[-1])) + 2, dtype=torch.float64)
        x, z, layer = *(Axis(f"${name}$", "mm") for name in self.across), Axis("layer")
        views = {
            "front": ("all layers", hits.z, edges[1], z),
            "side": ("side view", hits.layer, layers, layer),
        }
        found = {}
        for name, (label, columns, col_edges, axis) in views.items():
            raster = _raster(hits, hits.x, columns, edges[0], col_edges) * self._mev
            found[name] = Image(raster, (edges[0], col_edges), (x, axis), label, "MeV")
        return found

    def cells(self, batch: Batch) -> Tensor:
        """log10 E_inc and the energy in 30 layers times 20 rings of one cell over E_inc, since
        points have no order.
        """
        hits = self.project(batch)
        layers, rings = round(float(self.layer_groups[-1])) + 1, 20
        ring = (self._radius(hits) / self.pitch).floor().long().clamp(max=rings - 1)
        energies = hits.grouped(hits.layer.clamp(0, layers - 1) * rings + ring, layers * rings)
        incident = self._incident(batch)[:, None]
        return torch.cat([incident.log10(), energies / incident], dim=1)

    def _incident(self, batch: Batch) -> Tensor:
        return batch.cond[self.spec.by_role("energy").name][:, 0].double() * self._unit

    def _cell(self, values: Tensor, axis: int) -> Tensor:
        return ((values - self.phase[axis]) / self.pitch).floor().long()

    def _radius(self, hits: Hits) -> Tensor:
        return torch.hypot(hits.x - self.origin[0], hits.z - self.origin[1])

    def _groups(self, hits: Hits) -> Tensor:
        groups = len(self.layer_groups) - 1
        group = torch.bucketize(hits.layer.double(), self.layer_groups, right=True) - 1
        return hits.grouped(group.clamp(0, groups - 1), groups)

    def _ring_energies(self, hits: Hits) -> Tensor:
        rings = len(self.rings) - 1
        ring = torch.bucketize(self._radius(hits), self.rings, right=True) - 1
        return hits.grouped(ring.clamp(0, rings - 1), rings)


def _unique_rows(keys: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Distinct tuples of integers in rising order, and which of them each row is."""
    lows = [int(key.min()) if len(key) else 0 for key in keys]
    sizes = [
        int(key.max()) - low + 1 if len(key) else 1 for key, low in zip(keys, lows, strict=True)
    ]
    code = torch.zeros_like(keys[0])
    for key, low, size in zip(keys, lows, sizes, strict=True):
        code = code * size + (key - low)
    unique, inverse = torch.unique(code, return_inverse=True)
    parts = []
    for low, size in zip(reversed(lows), reversed(sizes), strict=True):
        parts.append(unique % size + low)
        unique = torch.div(unique, size, rounding_mode="floor")
    return parts[::-1], inverse


def _raster(hits: Hits, rows: Tensor, cols: Tensor, row_edges: Tensor, col_edges: Tensor) -> Tensor:
    """Energy of all events in a raster; what lies outside is dropped."""
    r, c = (
        torch.bucketize(rows, row_edges, right=True) - 1,
        torch.bucketize(cols.double(), col_edges, right=True) - 1,
    )
    n, m = len(row_edges) - 1, len(col_edges) - 1
    inside = (r >= 0) & (r < n) & (c >= 0) & (c < m)
    flat = hits.energy.new_zeros(n * m).index_add_(
        0, r[inside] * m + c[inside], hits.energy[inside]
    )
    return flat.view(n, m)
