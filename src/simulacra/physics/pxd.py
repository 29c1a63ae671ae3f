r"""Observables of pixel sensors: how many pixels fire, how much charge they hold, and how sensors
vary together.

For the charge :math:`q_{s,p}` of pixel ``p`` of sensor ``s``, set to zero below the evaluation cut,

.. math:: \text{occupancy}_s = \frac{1}{P} \sum_p [q_{s,p} > 0], \qquad
          \text{charge}_s = \frac{\sum_p q_{s,p}}{\sum_p [q_{s,p} > 0]}.

Sensors of equal radius form a layer. Which sensors there are, their numbers and their radii are
read from the geometry, so that subsets and reduced rasters need no code of their own.

Reference: evaluation of IEA-GAN, arXiv:2303.08046, whose histograms have 200 bins of occupancy from
0 to 0.02 and one bin per ADU; the correlation matrix is Spearman's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import Batch, Geometry, Layer, Spec, UserError
from simulacra.formats.pxd_sensors import COLS, ROWS
from simulacra.physics.base import (
    Axis,
    Image,
    ObservableSet,
    Profile,
    Ragged,
    per_batch,
    weighed,
)
from simulacra.physics.correlation import Coefficient, spearman
from simulacra.physics.pxd_clusters import Clusters, find_clusters

SPECTRUM_PIXELS = 2**19
"""Pixels per event above which the charge spectrum takes only every n-th fired pixel, so that it
fits in memory.
"""
BANDS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Lower edges of the bands of charge in the classifier's inputs, in units of the evaluation cut."""
OF_CLUSTERS = ("size", "size_u", "size_v", "charge")
"""What is said of each cluster."""
CELL_ROWS, CELL_COLS = 32, 96
"""Largest raster per sensor of a classifier's low-level inputs."""


class PxdObservables(ObservableSet):
    """Occupancies, mean charges, the charge spectrum and the clusters of a stack of sensors.

    Args:
        spec: An image data set whose layers are sensors.
    """

    coefficient = Coefficient("Spearman", spearman, "sensor_correlation")

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if spec.kind != "image" or spec.geometry is None:
            raise UserError(
                f"observables of pixel sensors need images with a geometry, {spec.name} is {spec.kind!r}"
            )
        self.geometry: Geometry = spec.geometry
        self.sensors = tuple(layer.id for layer in self.geometry.layers)
        radii = [layer.depth for layer in self.geometry.layers]
        self.layers = tuple(
            torch.tensor([r == radius for r in radii]) for radius in sorted(set(radii))
        )
        self.stride = max(1, spec.n_voxels // SPECTRUM_PIXELS)

    def __call__(self, batch: Batch) -> dict[str, Tensor | Ragged]:
        """Per sensor and layer ``(B,)``, ``sensor_occupancy`` ``(B, S)``, ``pixel_charge`` of the
        fired pixels, NaN where nothing fired; number ``clusters`` ``(B,)`` of clusters, and the sizes and
        charges of each (:mod:`simulacra.physics.pxd_clusters`).
        """
        hits = self.fired(batch)
        fired, charge = hits.counts()
        occupancy = fired / self._pixels
        found: dict[str, Tensor | Ragged] = {
            "occupancy": occupancy.mean(1),
            "total_charge": charge.sum(1),
            "mean_charge": charge.sum(1) / fired.sum(1),
        }
        for number, members in enumerate(self.layers, start=1):
            found[f"occupancy_layer_{number}"] = occupancy[:, members].mean(1)
            found[f"charge_layer_{number}"] = charge[:, members].sum(1) / fired[:, members].sum(1)
        for position, sensor in enumerate(self.sensors):
            found[f"occupancy_sensor_{sensor}"] = occupancy[:, position]
            found[f"charge_sensor_{sensor}"] = charge[:, position] / fired[:, position]
        found["sensor_occupancy"] = occupancy
        found["pixel_charge"] = hits.spectrum(self.stride)
        clusters = hits.clusters(self.geometry.layers[0].shape)
        total = torch.bincount(clusters.event, minlength=len(batch))
        kept = _every(clusters.event, total, self.stride)
        counts = torch.bincount(clusters.event[kept], minlength=len(batch))
        found["clusters"] = total.double()
        for name in OF_CLUSTERS:
            found[f"cluster_{name}"] = Ragged(getattr(clusters, name)[kept].float(), counts)
        return found

    @per_batch
    def fired(self, batch: Batch) -> Fired:
        """The pixels at or above ``spec.cut``."""
        return Fired.of(batch.x, self.spec.cut)

    def axes(self) -> dict[str, Axis]:
        """The published binning on full images; on a reduced raster ranges come from the truth."""
        unit = self.spec.unit
        full = self.geometry.layers[0].shape == (ROWS, COLS)

        def occupancy(label: str) -> Axis:
            low, high = (0.0, 0.02) if full else (None, None)
            return Axis(label, "", 200 if full else 50, low, high, category="occupancy")

        found = {
            "occupancy": occupancy("mean occupancy"),
            "total_charge": Axis("total charge", unit, category="charge"),
            "mean_charge": Axis("mean charge of fired pixels", unit, category="charge"),
        }
        for number in range(1, len(self.layers) + 1):
            found[f"occupancy_layer_{number}"] = occupancy(f"mean occupancy of layer {number}")
            found[f"charge_layer_{number}"] = Axis(
                f"mean charge of fired pixels in layer {number}", unit, category="charge"
            )
        for sensor in self.sensors:
            found[f"occupancy_sensor_{sensor}"] = occupancy(f"occupancy of sensor {sensor}")
            found[f"charge_sensor_{sensor}"] = Axis(
                f"mean charge of fired pixels in sensor {sensor}", unit, category="charge"
            )
        found["sensor_occupancy"] = occupancy("occupancy of a sensor")
        low = max(self.spec.cut, 1.0)
        found["clusters"] = Axis("clusters in an event", category="occupancy")
        found["cluster_size"] = Axis(f"{'pixels' if full else 'cells'} in a cluster")
        found["cluster_size_u"] = Axis("rows (u) of a cluster")
        found["cluster_size_v"] = Axis("columns (v) of a cluster")
        found["cluster_charge"] = Axis("charge of a cluster", unit, 50, low, None, log=True)
        found["pixel_charge"] = (
            Axis("charge of a fired pixel", unit, 256 - int(low), low, 256.0)
            if full
            else Axis("charge of a fired cell", unit, 50, low, None, log=True)
        )
        return found

    def features(self, batch: Batch) -> Tensor:
        """Log occupancies and mean charges of all sensors, shares of bands of charge per layer,
        ``(B, 2 S + 7 L)``.
        """
        hits = self.fired(batch)
        fired, charge = hits.counts()
        parts = [torch.log10(fired + 1), charge / fired.clamp(min=1)]
        edges = torch.tensor(BANDS, device=charge.device) * max(self.spec.cut, 1.0)
        band = torch.bucketize(hits.charge, edges, right=True).sub(1).clamp(min=0)
        for members in self.layers:
            inside = members.to(charge.device)[hits.sensor]
            flat = hits.event[inside] * len(BANDS) + band[inside]
            shares = (
                torch.bincount(flat, minlength=len(batch) * len(BANDS))
                .view(len(batch), len(BANDS))
                .double()
            )
            parts.append(shares / shares.sum(1, keepdim=True).clamp(min=1))
        return torch.cat(parts, dim=1)

    def cells(self, batch: Batch) -> Tensor:
        """Logarithm of the charge summed over squares of pixels, at most 32 x 96 per sensor, flat
        ``(B, F)``.
        """
        hits = self.fired(batch)
        sensors, rows, cols = self.spec.shape
        factor = max(1, math.ceil(rows / CELL_ROWS), math.ceil(cols / CELL_COLS))
        high, wide = math.ceil(rows / factor), math.ceil(cols / factor)
        u, v = hits.pixel // cols // factor, hits.pixel % cols // factor
        flat = ((hits.event * sensors + hits.sensor) * high + u) * wide + v
        summed = hits.charge.new_zeros(len(batch) * sensors * high * wide).index_add_(
            0, flat, hits.charge
        )
        return summed.log1p().view(len(batch), -1)

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Occupancy and charge of each sensor, in the order of the geometry."""
        fired, charge = self.fired(batch).counts()
        edges = torch.arange(len(self.sensors) + 1, dtype=torch.float64)
        axis, names = Axis("sensor", bins=len(self.sensors)), tuple(map(str, self.sensors))
        return {
            "occupancy_by_sensor": Profile(
                fired / self._pixels, edges, axis, "mean occupancy", names=names
            ),
            "charge_by_sensor": Profile(
                charge, edges, axis, "mean charge per sensor", self.spec.unit, names
            ),
        }

    def images(self, batch: Batch) -> dict[str, Image]:
        """Charge summed over the sensors of each layer and the weighted events."""
        hits = self.fired(batch)
        found = {}
        for number, members in enumerate(self.layers, start=1):
            layer = self.geometry.layers[int(members.nonzero()[0])]
            inside = members.to(hits.sensor.device)[hits.sensor]
            summed = hits.charge.new_zeros(layer.size, dtype=torch.float64)
            charge = weighed(hits.charge.double(), hits.event, batch)[inside]
            summed.index_add_(0, hits.pixel[inside], charge)
            found[f"layer_{number}"] = _image(
                layer, summed.view(layer.shape), number, self.spec.unit
            )
        return found

    @property
    def _pixels(self) -> int:
        return self.geometry.layers[0].size


@dataclass(frozen=True)
class Fired:
    """Fired pixels of a batch, in the order of the images.

    Args:
        shape: Number of events and of sensors.
        event: Position of the event, int64 ``(hits,)``.
        sensor: Position of the sensor in the stack, int64 ``(hits,)``.
        pixel: Flat pixel within the sensor, int64 ``(hits,)``.
        charge: Charge ``(hits,)``.
    """

    shape: tuple[int, int]
    event: Tensor
    sensor: Tensor
    pixel: Tensor
    charge: Tensor

    @classmethod
    def of(cls, images: Tensor, cut: float) -> Fired:
        """Pixels above 0 and at or above ``cut`` of images ``(B, S, rows, cols)``."""
        values = images.flatten()
        flat = ((values >= cut) & (values > 0)).nonzero().squeeze(1)
        events, sensors = images.shape[:2]
        pixels = math.prod(images.shape[2:])
        stack = flat // pixels
        return cls(
            (events, sensors), stack // sensors, stack % sensors, flat % pixels, values[flat]
        )

    def counts(self) -> tuple[Tensor, Tensor]:
        """Number of fired pixels and charge per event and sensor, float64 ``(B, S)`` each."""
        flat, size = self.event * self.shape[1] + self.sensor, math.prod(self.shape)
        fired = torch.bincount(flat, minlength=size).double()
        charge = torch.bincount(flat, weights=self.charge.double(), minlength=size)
        return fired.view(self.shape), charge.view(self.shape)

    def spectrum(self, stride: int = 1) -> Ragged:
        """Charge of every ``stride``-th fired pixel of each event."""
        counts = torch.bincount(self.event, minlength=self.shape[0])
        kept = _every(self.event, counts, stride)
        return Ragged(self.charge[kept], torch.bincount(self.event[kept], minlength=self.shape[0]))

    def clusters(self, shape: tuple[int, int]) -> Clusters:
        """Clusters of touching pixels, of sensors of ``shape`` rows and columns."""
        stack, cols = self.event * self.shape[1] + self.sensor, shape[1]
        return find_clusters(self.event, stack, self.pixel // cols, self.pixel % cols, self.charge)


def _every(event: Tensor, counts: Tensor, stride: int) -> Tensor:
    """Whether each item, listed by event, is the first, or ``stride`` behind one that is, bool ``(n,)``."""
    place = torch.arange(len(event), device=event.device) - (counts.cumsum(0) - counts)[event]
    return place % stride == 0


def correlation_difference(
    truth: Tensor,
    generated: Tensor,
    truth_weight: Tensor | None = None,
    generated_weight: Tensor | None = None,
) -> float:
    """Mean absolute difference of the rank correlations between all pairs of sensors, from
    occupancies ``(N, S)`` and weights ``(N,)``.
    """
    if truth.shape[1] != generated.shape[1] or truth.shape[1] < 2:
        raise UserError(
            f"correlations need two sensors or more, got {truth.shape[1]} and {generated.shape[1]}"
        )
    found = spearman(truth, truth_weight)
    difference = (found - spearman(generated, generated_weight)).abs()
    rows, cols = torch.triu_indices(len(difference), len(difference), offset=1)
    return float(difference[rows, cols].mean())


def _image(layer: Layer, cells: Tensor, number: int, unit: str) -> Image:
    rows, cols = (torch.tensor(edges, dtype=torch.float64) for edges in layer.edges)
    axes = Axis(layer.axes[0], "mm"), Axis(layer.axes[1], "mm")
    return Image(cells, (rows, cols), axes, f"layer {number}, all sensors", unit)
