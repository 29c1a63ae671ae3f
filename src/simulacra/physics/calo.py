r"""What all calorimeters share: cuts, energies per layer, moments, profiles and images, from the
geometry alone.

Voxels below the evaluation cut count as 0; sums are taken over the voxels above it
(:class:`~simulacra.physics.hits.Hits`), so that showers are never looped over.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from simulacra.core import Batch, Layer, Spec, UserError
from simulacra.core.units import factor
from simulacra.physics.base import (
    Axis,
    Image,
    ObservableSet,
    Profile,
    ResponseBin,
    even_edges,
    per_batch,
)
from simulacra.physics.deposits import Cells, Deposits
from simulacra.physics.hits import Hits

TINY = 1e-16
"""Added to sums in denominators, as in the CaloChallenge's code."""
SLICES = 4
"""Layers of which images are kept where there are more than a dozen."""


def spread(first: Tensor, second: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Energy-weighted mean and width from ``sum(g e)``, ``sum(g^2 e)`` and ``sum(e)``; 0 where
    there is no energy.
    """
    mean = first / (total + TINY)
    return mean, (second / (total + TINY) - mean.square()).clamp(min=0).sqrt()


class CalorimeterObservables(ObservableSet):
    """Base of all sets on a geometry: cut cells, visible and incident energy, profiles and mean images.

    Args:
        spec: A data set with a geometry and a condition that is the incident energy.
        radial_bins: Number of rings of the radial profile where layers are not polar.
    """

    asked, ratio = r"$E_\mathrm{inc}$", r"$E_\mathrm{tot} / E_\mathrm{inc}$"

    def __init__(self, spec: Spec, radial_bins: int = 24) -> None:
        super().__init__(spec)
        if spec.geometry is None:
            raise UserError(
                f"observables of a calorimeter need a geometry, and {spec.name} has none"
            )
        self.geometry = spec.geometry
        self.radial_bins = radial_bins
        self._unit = factor(spec.by_role("energy").unit, spec.unit)

    @per_batch
    def cut(self, batch: Batch) -> Tensor:
        """Voxels ``(B, V)`` with those below ``spec.cut`` set to 0."""
        flat = batch.x.flatten(1)
        return torch.where(flat < self.spec.cut, torch.zeros_like(flat), flat)

    @per_batch
    def hits(self, batch: Batch) -> Hits:
        """Voxels at or above ``spec.cut``."""
        return Hits.of(batch.x.flatten(1), self.geometry, self.spec.cut)

    @per_batch
    def layer_energy(self, batch: Batch) -> Tensor:
        """Energy per layer ``(B, L)``, float64."""
        return self.hits(batch).layer_energy()

    def incident(self, batch: Batch) -> Tensor:
        """Incident energy ``(B,)``, float64, in the unit of the voxels."""
        return batch.cond[self.spec.by_role("energy").name][:, 0].double() * self._unit

    def response(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Incident and visible energy, ``(B,)`` each, in the unit of the voxels."""
        return self.incident(batch), self.layer_energy(batch).sum(1)

    def response_bins(self) -> tuple[ResponseBin, ...] | None:
        """One bin ``[E_i, E_{i+1})`` per energy where the prior is discrete; else None."""
        field = self.spec.by_role("energy")
        for prior in self.spec.prior:
            if prior.name == field.name and prior.kind == "discrete":
                # the last window is as wide as the one before it: 16 edges for 15 energies
                values = sorted(prior.values)
                last = values[-1] * (values[-1] / values[-2] if len(values) > 1 else 2.0)
                pairs = zip(values, [*values[1:], last], strict=True)
                return tuple(
                    ResponseBin(
                        low * self._unit,
                        high * self._unit,
                        f"{low:g}{field.unit}",
                        self.response_axis(low),
                    )
                    for low, high in pairs
                )
        return None

    def response_axis(self, energy: float) -> Axis | None:
        """Binning of visible over incident energy at one incident energy; None: from the truth."""
        return None

    def cells(self, batch: Batch) -> Tensor:
        """CaloChallenge's "low" inputs: log10 E_inc, then voxels / E_inc (after the cut), ``(B, 1 + V)``."""
        incident = self.incident(batch)[:, None]
        return torch.cat([incident.log10(), self.cut(batch).double() / incident], dim=1)

    def normed_cells(self, batch: Batch) -> Tensor:
        """CaloChallenge's "low-normed" inputs: log10 E_inc, voxels / (E_layer + 1e-16) and
        log10(E_layer + 1e-8), ``(B, 1 + V + L)``; as there, voxels are uncut and layer energies cut.
        """
        layers = self.geometry.layer_sums(self.cut(batch).double())
        shares = batch.x.flatten(1).double() / (self.geometry.spread(layers) + TINY)
        energy = self.incident(batch).log10()[:, None]
        return torch.cat([energy, shares, (layers + 1e-8).log10()], dim=1)

    def deposits(self, batch: Batch) -> Deposits:
        """Cells at or above the cut, at their centres."""
        hits = self.hits(batch)
        return self._deposits(hits, self._centres[torch.from_numpy(hits.voxel).long(), :2])

    def idealised(self, batch: Batch, generator: torch.Generator) -> Deposits:
        """Each of these cells at a random point of itself: what a perfect sampler gives that knows the
        energies of the cells, and nothing below their size.
        """
        hits = self.hits(batch)
        cell = torch.from_numpy(hits.voxel).long()
        return self._deposits(hits, self._cells.anywhere(cell, generator))

    def _deposits(self, hits: Hits, place: Tensor) -> Deposits:
        first = self.geometry.layers[0].axes
        return Deposits(
            torch.arange(len(hits.counts)).repeat_interleave(torch.from_numpy(hits.per_event)),
            self.geometry.layer_index[torch.from_numpy(hits.voxel).long()],
            place,
            torch.from_numpy(hits.energy).double(),
            torch.tensor([layer.depth for layer in self.geometry.layers], dtype=torch.float64),
            ("x", "y") if first == ("alpha", "r") else first,
            len(hits.counts),
        )

    @cached_property
    def _centres(self) -> Tensor:
        return self.geometry.centres()

    @cached_property
    def _cells(self) -> Cells:
        return Cells(self.geometry)

    def log_cells(self, batch: Batch) -> Tensor:
        """log10 of the voxels in MeV after the cut, empty ones as 0.1 MeV, ``(B, V)`` float64: what the
        CaloChallenge takes nearest neighbours in.
        """
        energy = self.cut(batch).double() * factor(self.spec.unit, "MeV")
        return torch.where(energy > 0, energy, 0.1).log10()

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Energy per layer and energy per ring around the axis, event by event."""
        hits, unit = self.hits(batch), self.spec.unit
        layers = torch.arange(len(self.geometry) + 1, dtype=torch.float64)
        ring, edges = self._rings
        radial = hits.grouped(ring, len(edges) - 1)
        longitudinal = self.layer_energy(batch)
        widths = edges.diff()
        names = tuple(str(layer.id) for layer in self.geometry.layers)
        depth = Axis("layer", bins=len(self.geometry))
        distance = Axis("distance from the axis", "mm", log=bool(widths.max() > 5 * widths.min()))
        return {
            "longitudinal": Profile(
                longitudinal, layers, depth, "mean energy per layer", unit, names
            ),
            "radial": Profile(radial, edges, distance, "mean energy per ring", unit),
        }

    def images(self, batch: Batch) -> dict[str, Image]:
        """Summed energy per cell of each layer (of many, some evenly in depth), and of all layers
        together where they share one raster.
        """
        summed = self.hits(batch).summed(self.geometry.n_voxels, batch.weight)
        layers = self.geometry.split(summed[None])
        found = {
            f"layer_{layer.id}": _image(layer, cells[0], f"layer {layer.id}", self.spec.unit)
            for layer, cells in zip(self.geometry.layers, layers, strict=True)
        }
        if len(self.geometry) > 12:
            wanted = {int(len(self.geometry) * (i + 0.5) / SLICES) for i in range(SLICES)}
            found = {name: image for i, (name, image) in enumerate(found.items()) if i in wanted}
        if self.geometry.regular and len(self.geometry) > 1:
            total = torch.cat(layers).sum(0)
            found["all_layers"] = _image(
                self.geometry.layers[0], total, "all layers", self.spec.unit
            )
        return found

    @cached_property
    def _rings(self) -> tuple[Tensor, Tensor]:
        """Ring number of each voxel ``(V,)``, by its middle, and the ring edges.

        Polar layers: the radial edges of the layer that has most of them, and one ring beyond;
        else even rings.
        """
        layers = self.geometry.layers
        radius = torch.cat([_radius(layer).flatten() for layer in layers])
        high = max(_reach(layer) for layer in layers)
        polar = [layer for layer in layers if layer.axes == ("alpha", "r")]
        if polar:
            finest = max(polar, key=lambda layer: layer.shape[1]).edges[1]
            edges = torch.tensor(
                [*finest, high] if high > finest[-1] else finest, dtype=torch.float64
            )
        else:
            edges = even_edges(0, high, self.radial_bins)
        ring = torch.bucketize(radius, edges, right=True) - 1
        return ring.clamp(0, len(edges) - 2), edges


def _radius(layer: Layer) -> Tensor:
    """Distance of cell centres from the middle of the layer ``(rows, cols)``: bin middles for
    polar layers.
    """
    first, second = layer.cartesian()
    if layer.axes == ("alpha", "r"):
        return first.hypot(second)
    return (first - _middle(layer.edges[0])).hypot(second - _middle(layer.edges[1]))


def _reach(layer: Layer) -> float:
    """Largest radius of a layer."""
    if layer.axes == ("alpha", "r"):
        return layer.edges[1][-1]
    return float(_radius(layer).max())


def _middle(edges: Sequence[float]) -> float:
    return (edges[0] + edges[-1]) / 2


def _image(layer: Layer, cells: Tensor, label: str, unit: str) -> Image:
    rows, cols = (torch.tensor(edges, dtype=torch.float64) for edges in layer.edges)
    axes = tuple(
        Axis(r"$\alpha$", "rad") if name == "alpha" else Axis(f"${name}$", "mm")
        for name in layer.axes
    )
    return Image(
        cells, (rows, cols), (axes[0], axes[1]), label, unit, polar=layer.axes == ("alpha", "r")
    )
