"""Background of the Belle II pixel vertex detector: what its events look like, and the files that
hold them.

An event of ``pxd`` is the charge [ADU] in the pixels of 40 sensors, ``(40, 250, 768)``; nothing is
asked of a generator unless events come with the ``rate`` of the background, in units of the nominal
one: it is a condition then, and files hold it. ``pxd_small`` is our own reduction for small
machines, never to be compared with ``pxd``: eight sensors, four of each layer evenly around the
beam, charge summed over 8 x 8 pixels after padding 250 rows to 256, ``(8, 32, 96)``. A cell then
holds several crossings, so its charge is not capped at 255 ADU: it saturates at 4095 ADU (the
largest of two million synthetic cells holds 2877). In both, the layers of the geometry carry the
numbers of the sensors, so that a subset knows which ones it shows.

A path that ends in ``.hdf5`` or ``.h5`` is a list of hits (:mod:`simulacra.formats.pxd_hdf5`), any
other a folder of images (:mod:`simulacra.formats.pxd_png`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, Geometry, Prior, Spec, UserError
from simulacra.core.constructors import constructor
from simulacra.formats import pxd_hdf5, pxd_png
from simulacra.formats.base import FileInfo, Format, Writer
from simulacra.formats.pxd_hits import Hits
from simulacra.formats.pxd_sensors import COLS, ROWS, SENSORS, layer_of, pxd_geometry, sensor_number

THRESHOLD = 7.0  # ADU, below it the publications set pixels to zero
SMALL_SENSORS = ("1.1.1", "1.3.1", "1.5.1", "1.7.1", "2.1.1", "2.4.1", "2.7.1", "2.10.1")
SMALL_POOL, SMALL_CEILING = 8, 4095
SUFFIXES = (".hdf5", ".h5")
LOWEST_RATE, NOMINAL = 1e-3, "nominal"
"""Smallest rate of the background, and its unit: that to which the data set is calibrated."""


@constructor
def pxd(sensors: Sequence[str] = SENSORS, rate: Sequence[float] | None = None) -> Spec:
    """Full images of some sensors, by default all 40.

    Args:
        sensors: Names of the sensors, in the order of the images.
        rate: Smallest and largest rate of the background, which makes it a condition; None: events do not
            come with a rate.
    """
    return _spec("pxd", sensors, 1, 255, 1, rate)


@constructor
def pxd_small(sensors: Sequence[str] = SMALL_SENSORS, rate: Sequence[float] | None = None) -> Spec:
    """The reduced data set, see the module's docstring; arguments as of :func:`pxd`."""
    return _spec("pxd_small", sensors, SMALL_POOL, SMALL_CEILING, 64, rate)


class PxdFormat(Format):
    """Reader and writer of images and of lists of hits.

    Charges below the spec's threshold are dropped when reading and writing, as the publications do.
    A reduced data set is also read from files of the full detector.

    Args:
        spec: Made by :func:`pxd` or :func:`pxd_small`.
    """

    suffixes = ()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if (
            spec.kind != "image"
            or spec.geometry is None
            or not spec.features
            or spec.features[0].high is None
        ):
            raise UserError(f"{spec.name} is no stack of pixel sensors with a largest charge")
        self.geometry: Geometry = spec.geometry
        self.sensors = tuple(layer.id for layer in self.geometry.layers)
        self.cells = self.geometry.layers[0].shape
        self.ceiling = int(spec.features[0].high)

    def header(self, path: Path | str) -> FileInfo:
        """Check names, sizes and lengths; of images the first of each sensor."""
        if not _is_list(path):
            if self.spec.conditions:
                raise FormatError(
                    f"{path}: images have no {self.spec.conditions[0].name}, which is a condition of "
                    f"{self.spec.name} here: set data.rate=null, or use a file of hits"
                )
            return pxd_png.header(Path(path), self.sensors)
        info, layout = pxd_hdf5.header(Path(path), self.spec.conditions)
        if layout.shape not in (self.cells, (ROWS, COLS)):
            rows, cols = layout.shape
            raise FormatError(
                f"{path}: sensors have {rows}x{cols} cells, expected {self.cells} or {(ROWS, COLS)}"
            )
        missing = sorted(set(self.sensors) - set(layout.sensors))
        if missing:
            raise FormatError(
                f"{path}: the file lacks sensor {SENSORS[missing[0]]}, one of {len(missing)} missing"
            )
        return info

    def stream(self, path: Path | str, chunk: int = 8) -> Iterator[Hits]:
        """All events in file order as lists of the fired cells of this spec's sensors, ``chunk``
        events at a time.
        """
        n = self.header(path).n
        starts = range(0, n, chunk)
        if _is_list(path):
            parts = (
                pxd_hdf5.read(Path(path), start, min(n, start + chunk), self.cleaning)
                for start in starts
            )
        else:
            names = pxd_png.event_names(Path(path), self.sensors)
            parts = (
                pxd_png.read_events(Path(path), self.sensors, names[start : start + chunk])
                for start in starts
            )
        return (self.reduce(part) for part in parts)

    def reduce(self, hits: Hits) -> Hits:
        """The cells of this spec from the hits of a file, which may be of the full detector."""
        hits = hits.above(THRESHOLD).pick(self.sensors)
        return hits if hits.shape == self.cells else hits.pool(COLS // self.cells[1], self.ceiling)

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        """Images ``(n, S, rows, cols)`` [ADU], values checked."""
        self.header(path)
        if _is_list(path):
            hits = pxd_hdf5.read(Path(path), start, stop, self.cleaning)
        else:
            hits = pxd_png.read(Path(path), self.sensors, start, stop)
        weight = self.weights(path)
        images, cond = self.reduce(hits).to_dense(self.sensors), self.conditions(path)
        return Batch(
            images,
            {name: values[start:stop] for name, values in cond.items()},
            weight=None if weight is None else weight[start:stop],
        )

    def conditions(self, path: Path | str) -> dict[str, Tensor]:
        """Conditions of all events of a file by name, each ``(n, 1)``; images have none."""
        return pxd_hdf5.conditions(Path(path), self.spec.conditions) if _is_list(path) else {}

    def weights(self, path: Path | str) -> Tensor | None:
        """Weights of all events of a file, or None where it has none, as images never have."""
        return pxd_hdf5.weights(Path(path)) if _is_list(path) else None

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        """All events in file order, as images."""
        weight, cond, step = self.weights(path), self.conditions(path), chunk or self.chunk
        for number, hits in enumerate(self.stream(path, step)):
            here = slice(number * step, (number + 1) * step)
            part = None if weight is None else weight[here]
            given = {name: values[here] for name, values in cond.items()}
            yield Batch(hits.to_dense(self.sensors), given, weight=part)

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        """A writer of hits for a path that ends in ``.hdf5`` or ``.h5``, else of images."""
        if _is_list(path):
            return self.sparse_writer(path, attributes)
        if self.cells != (ROWS, COLS):
            raise UserError(
                f"{self.spec.name} has no images on disk: give its file a name that ends in .hdf5"
            )
        return pxd_png.PngWriter(path, self.sensors, self.spec.threshold, attributes or {})

    def sparse_writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> pxd_hdf5.SparseWriter:
        """A writer of lists of hits, which takes :class:`Hits` as well as batches."""
        return pxd_hdf5.SparseWriter(
            path,
            self.sensors,
            self.cells,
            self.spec.threshold,
            attributes or {},
            [field.name for field in self.spec.conditions],
        )

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` events of pixels that fire at random."""
        generator = torch.Generator().manual_seed(seed)
        with self.writer(path) as writer:
            for _ in range(n):
                cond = {prior.name: prior.draw(1, generator) for prior in self.spec.prior}
                writer.append(Batch(self._toy_event(generator), cond))
        return self.header(path)

    def _toy_event(self, generator: torch.Generator) -> Tensor:
        """Pixels that fire anywhere with exponential charge, more of them in the inner layer:
        ``(1, S, rows, cols)``.
        """
        sensors, rows, cols = self.spec.shape
        images = torch.zeros(sensors, rows * cols)
        for image, number in zip(images, self.sensors, strict=True):
            fired = max(1, int((0.015 if layer_of(number) == 0 else 0.005) * rows * cols))
            charge = self.spec.threshold + torch.empty(fired).exponential_(
                1 / 15, generator=generator
            )
            image[torch.randint(rows * cols, (fired,), generator=generator)] = charge.floor().clamp(
                max=255
            )
        return images.view(1, sensors, rows, cols)


def _spec(
    name: str,
    sensors: Sequence[str],
    pool: int,
    ceiling: int,
    batch: int,
    rate: Sequence[float] | None,
) -> Spec:
    numbers = [sensor_number(sensor) for sensor in sensors]
    if not numbers or len(set(numbers)) != len(numbers):
        raise UserError(f"{name} needs at least one sensor and each only once, got {list(sensors)}")
    geometry = pxd_geometry(numbers, pool)
    field = Field("rate", NOMINAL, low=LOWEST_RATE, log=True, role="rate")
    return Spec(
        name,
        "image",
        geometry.padded_shape,
        "ADU",
        features=(Field("charge", "ADU", low=0.0, high=float(ceiling)),),
        conditions=() if rate is None else (field,),
        prior=() if rate is None else (Prior("rate", "uniform", check_rate(rate)),),
        geometry=geometry,
        threshold=THRESHOLD,
        cut=THRESHOLD,
        sample_batch=batch,
        simulator="Geant4",
    )


def check_rate(rate: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest rate of the background.

    Raises:
        UserError: If they are none.
    """
    if len(rate) != 2 or not LOWEST_RATE <= rate[0] <= rate[1] < math.inf:
        raise UserError(
            f"data.rate is the smallest and the largest rate of the background, from {LOWEST_RATE:g} on, "
            f"such as [0.5, 1.5], got {list(rate)}"
        )
    return float(rate[0]), float(rate[1])


def _is_list(path: Path | str) -> bool:
    return Path(path).suffix.lower() in SUFFIXES
