"""ShowerData: showers of any calorimeter as lists of points, the files of the package ``showerdata``.

HDF5 with root keys ``showers`` (N,), each a list of float32 that is a flat (n, 4 or 5) array of x [mm], y
[mm], layer number, energy and, with five columns, time [ns]; ``energies`` (N, 1), ``directions`` (N, 3), unit
vectors, ``pdg`` (N,), ``num_points`` (N,), ``shower_ids`` (N,), ``shape`` (3,): number of showers, largest
number of points, columns; and the attribute ``showerdata_version``. Energies are in GeV unless the data set
says otherwise. In a :class:`~simulacra.core.Batch` the energy of a point stands last, behind the time. A
point is real where its energy is above 0.

Reference: https://github.com/FLC-QU-hep/ShowerData, version 0.7.0.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Batch, Field, FormatError, Prior, Spec, UserError
from simulacra.core.constructors import constructor
from simulacra.core.geometry import regular_grid
from simulacra.formats.base import FileInfo
from simulacra.formats.calo_cloud import points_first
from simulacra.formats.calochallenge import ENERGY
from simulacra.formats.cleaning import Cleaning
from simulacra.formats.hdf5 import (
    Array,
    Hdf5Format,
    Hdf5Writer,
    check_far,
    check_not_negative,
    dataset,
    stored,
    tensor,
)

log = logging.getLogger(__name__)

DIRECTION, PARTICLE = "direction", "particle"
SHOWERS, COUNTS, PDG, SHAPE = "showers", "num_points", "pdg", "shape"
VERSION = "0.7.0"
"""Version of the package whose layout is written."""
_LIST = h5py.vlen_dtype(np.float32)
_WHOLE = (COUNTS, PDG, "shower_ids")


class ShowerData(Hdf5Format):
    """Reader and writer, see the module's docstring.

    Args:
        spec: Made by :func:`showerdata`.
        particles: PDG numbers of the incident particles; several make the particle a condition.
    """

    def __init__(self, spec: Spec, particles: Sequence[int] = (22,)) -> None:
        super().__init__(spec)
        classes = tuple(map(str, particles))
        known = next((f.classes for f in spec.conditions if f.name == PARTICLE), classes[:1])
        if known != classes:
            raise UserError(f"{spec.name} is of the particles {known}, the format of {classes}")
        self.particles = tuple(particles)

    @property
    def width(self) -> int:
        """Columns of a point."""
        return self.spec.shape[1]

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys of regular arrays and the shape of one event under each."""
        return {"energies": (1,), "directions": (3,), PDG: (1,), COUNTS: (1,)}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        return {ENERGY: "energies", DIRECTION: "directions"}

    def cleaned(
        self, arrays: dict[str, Array], path: Path, start: int, cleaning: Cleaning
    ) -> dict[str, Array]:
        """Points of negative energy have none, and are none."""
        points = arrays[SHOWERS].copy()
        points[..., -1] = cleaning.negative(path, SHOWERS, points[..., -1], start, self.spec.unit)
        return {**arrays, SHOWERS: points}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays; ``showers`` is ``(n, points, 4 or 5)``, padded with zeros."""
        check_not_negative(path, SHOWERS, arrays[SHOWERS][..., -1], 0, self.spec.unit)
        x, mask = points_first(tensor(arrays[SHOWERS]))
        cond = {
            ENERGY: tensor(arrays["energies"]).reshape(-1, 1),
            DIRECTION: tensor(arrays["directions"]),
        }
        if len(self.particles) > 1:
            numbers = arrays[PDG].reshape(-1, 1)
            cond[PARTICLE] = torch.from_numpy(
                np.argmax(numbers == np.asarray(self.particles), axis=1)[:, None]
            )
        return Batch(x, cond, mask=mask)

    def encode(self, batch: Batch) -> dict[str, Any]:
        """Inverse of :meth:`decode`; ``showers`` is an array of lists."""
        if batch.mask is None:
            raise ValueError("a cloud needs a mask")
        x, mask = points_first(torch.where(batch.mask[..., None], batch.x, 0.0).float().cpu())
        points = x.numpy()[..., self._order]
        counts = mask.sum(1).numpy().astype(np.int32)
        lists = np.empty(len(batch), dtype=_LIST)
        for number, (shower, count) in enumerate(zip(points, counts, strict=True)):
            lists[number] = np.ascontiguousarray(shower[:count]).ravel()
        kinds = np.asarray(self.particles, dtype=np.int32)
        known = batch.cond[PARTICLE][:, 0].cpu().numpy() if len(kinds) > 1 else 0
        return {
            "energies": batch.cond[ENERGY].float().cpu().numpy(),
            "directions": batch.cond[DIRECTION].float().cpu().numpy(),
            PDG: np.broadcast_to(kinds[known], len(batch)),
            COUNTS: counts,
            SHOWERS: lists,
        }

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        """A writer of lists of points."""
        return ListWriter(path, self, attributes or {}, self.width)

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events."""
        self.write(path, _toys(self.spec, n, torch.Generator().manual_seed(seed)))
        return self.header(path)

    def _header(self, file: h5py.File, path: Path) -> FileInfo:
        info = super()._header(file, path)
        lists, width = self._lists(file, path)
        if len(lists) != info.n:
            raise FormatError(
                f"{path}: the keys differ in length ({len(lists)} in {SHOWERS!r}, {info.n} in 'energies'), "
                "expected one entry per event in each"
            )
        if width < self.width:
            raise FormatError(
                f"{path}: its points have {width} columns, {self.spec.name} has {self.width} with the time: "
                "set data.format.spec.time=false"
            )
        found = sorted(
            set(stored(self.data(file, path, PDG), path, PDG, 0, info.n).ravel().tolist())
        )
        strange = [number for number in found if number not in self.particles]
        if strange:
            wanted = ", ".join(map(str, sorted({*strange, *self.particles})))
            raise FormatError(
                f"{path}: it holds showers of particles with the PDG number {strange[0]}, {self.spec.name} "
                f"those of {', '.join(map(str, self.particles))}: set data.format.particles=[{wanted}]"
            )
        counts = stored(self.data(file, path, COUNTS), path, COUNTS, 0, info.n)
        if int(counts.max()) > self.spec.shape[0]:
            raise FormatError(
                f"{path}: a shower has {int(counts.max()):,} points, {self.spec.name} has at most "
                f"{self.spec.shape[0]:,}: set data.format.spec.points={int(counts.max())}"
            )
        return FileInfo(info.path, info.n, {**info.shapes, SHOWERS: (info.n,)}, info.ranges)

    def _lists(self, file: h5py.File, path: Path) -> tuple[h5py.Dataset, int]:
        """The data set of lists, and how many columns a point has."""
        lists = dataset(file, path, SHOWERS, f"the keys of {self.spec.name}", kinds="O")
        inner = h5py.check_vlen_dtype(lists.dtype)
        if lists.ndim != 1 or not isinstance(inner, np.dtype) or inner.kind != "f":
            raise FormatError(
                f"{path}: key {SHOWERS!r} is {lists.dtype} {lists.shape}, expected one list of numbers per "
                "shower"
            )
        shape = stored(dataset(file, path, SHAPE, kinds="iu"), path, SHAPE, 0, 3)
        if shape.shape != (3,) or shape[2] not in (4, 5):
            raise FormatError(
                f"{path}: key {SHAPE!r} is {shape.tolist()}, expected showers, points and 4 or 5 columns"
            )
        return lists, int(shape[2])

    def _arrays(self, file: h5py.File, path: Path, start: int, stop: int) -> dict[str, Array]:
        arrays = super()._arrays(file, path, start, stop)
        lists, width = self._lists(file, path)
        counts = arrays[COUNTS].reshape(-1).astype(np.int64)
        numbers = stored(self.data(file, path, PDG), path, PDG, start, stop)  # beyond 2^24, too
        found = stored(lists, path, SHOWERS, start, stop)
        points = np.zeros((len(found), self.spec.shape[0], self.width), np.float32)
        for number, (values, count) in enumerate(zip(found, counts, strict=True)):
            if len(values) != count * width:
                raise FormatError(
                    f"{path}: shower {start + number} has {len(values)} numbers under {SHOWERS!r}, expected "
                    f"{count} points of {width} columns"
                )
            points[number, :count] = values.reshape(count, width)[:, self._order]
        points = self.finite(path, SHOWERS, points, start)
        self._check_points(path, points)
        empty = int(counts.sum()) - int((points[..., -1] != 0).sum())
        if empty:
            _say_empty(path, empty, int(counts.sum()))
        return {**arrays, PDG: numbers, SHOWERS: points}

    def _check_points(self, path: Path, points: NDArray[np.float32]) -> None:
        """Refuse places and layers that are nowhere, and tell of points between or beside the layers."""
        for column, field in enumerate(self.spec.features[:3]):
            check_far(path, SHOWERS, field, *_ends(points[..., column]))
        layers, last = points[..., 2], self.spec.features[2].high or 0.0
        strange = int(((layers < 0) | (layers > last) | (layers != np.floor(layers))).sum())
        if strange:
            _say_beside(path, strange, last)

    @property
    def _order(self) -> list[int]:
        """Columns of a file's points in the order of a batch, or the reverse, which is the same."""
        return [0, 1, 2, 4, 3] if self.width == 5 else [0, 1, 2, 3]


def _ends(values: NDArray[np.float32]) -> tuple[float, float]:
    """Smallest and largest value."""
    return float(values.min(initial=0)), float(values.max(initial=0))


@functools.cache
def _say_beside(path: Path, points: int, last: float) -> None:
    log.warning("%s: the layer of %s points differs from 0, 1 ... %g", path, f"{points:,}", last)


@functools.cache
def _say_empty(path: Path, empty: int, points: int) -> None:
    log.warning(
        "%s: %s of %s points have no energy: they are left out", path, f"{empty:,}", f"{points:,}"
    )


class ListWriter(Hdf5Writer):
    """Streams showers into lists of points.

    Args:
        path: Where the file shall be.
        format: Makes lists and arrays of batches.
        attributes: Provenance, stored as attributes of the file.
        width: Columns of a point.
    """

    def __init__(
        self,
        path: Path | str,
        format: ShowerData,
        attributes: Mapping[str, str | int | float],
        width: int,
    ) -> None:
        super().__init__(path, format, {"showerdata_version": VERSION, **attributes})
        self.width, self.most = width, 1

    def _create_all(self) -> None:
        for key, shape in self.format.columns().items():
            whole = key in _WHOLE
            self._create(key, () if whole else shape, np.int32 if whole else np.float32)
        self._create("shower_ids", (), np.int32)
        self.file.create_dataset(SHOWERS, (0,), _LIST, maxshape=(None,), chunks=(1024,))

    def _store(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.most = max(self.most, int(arrays[COUNTS].max(initial=1)))
        ids = np.arange(self.n, self.n + len(arrays[COUNTS]), dtype=np.int32)
        plain = {key: values for key, values in arrays.items() if key != SHOWERS}
        super()._store({**plain, "shower_ids": ids})
        self._store_lists(arrays[SHOWERS])

    def _store_lists(self, lists: NDArray[Any]) -> None:
        """Write lists ``(n,)``; h5py's own assignment makes an array of lists of equal length."""
        data, n = self.file[SHOWERS], len(lists)
        data.resize(self.n + n, axis=0)
        place = data.id.get_space()
        place.select_hyperslab((self.n,), (n,))
        kind = h5py.h5t.py_create(lists.dtype)
        data.id.write(h5py.h5s.create_simple((n,)), place, lists, kind)
        self.sink.check()

    def _close(self) -> None:
        self.file[SHAPE] = np.asarray([self.n, self.most, self.width], dtype=np.int64)
        super()._close()


@constructor
def showerdata(
    name: str = "showerdata",
    points: int = 6000,
    layers: int = 30,
    energies: Sequence[float] = (10.0, 90.0),
    reach: float = 400.0,
    pitch: float = 5.0,
    cut: float = 1e-4,
    unit: str = "GeV",
    time: bool = False,
    particles: Sequence[int] = (22,),
) -> Spec:
    """Showers of up to ``points`` points, conditioned on incident energy and direction.

    Args:
        name: Name of the data set.
        points: Largest number of points of a shower.
        layers: Number of layers, which are counted from 0.
        energies: Smallest and largest incident energy [GeV].
        reach: Points lie within this distance of the origin along x and y [mm].
        pitch: Size of the cells along x and y that points are summed into [mm].
        cut: Where the evaluation cuts cells [``unit``].
        unit: Unit of the points' energies.
        time: Whether points have a time, which is read and generated, too.
        particles: PDG numbers of the incident particles; several make the particle a condition.
    """
    several = len(particles) > 1
    low, high = energies
    cells = max(1, round(2 * reach / pitch))
    edges = [pitch * (k - cells / 2) for k in range(cells + 1)]
    classes = tuple(map(str, particles))
    prior = (
        Prior(ENERGY, "uniform", (low, high)),
        Prior(DIRECTION, "constant", (0.0, 0.0, 1.0)),
        *(
            (Prior(PARTICLE, "discrete", tuple(map(float, range(len(classes))))),)
            if several
            else ()
        ),
    )
    return Spec(
        name,
        "cloud",
        (points, 4 + time),
        unit,
        geometry=regular_grid(layers, (edges, edges), ("x", "y")),
        features=(
            Field("x", "mm", low=-reach, high=reach),
            Field("y", "mm", low=-reach, high=reach),
            Field("layer", low=0.0, high=float(layers - 1)),
            *((Field("t", "ns"),) if time else ()),
            Field("e", unit, low=0.0),
        ),
        conditions=(
            Field(ENERGY, "GeV", low=low, high=high, role="energy"),
            Field(DIRECTION, dim=3, low=-1.0, high=1.0),
            *((Field(PARTICLE, classes=classes),) if several else ()),
        ),
        cut=cut,
        prior=prior,
        sample_batch=64,
        response=(1e-3, 3.0),
        simulator="Geant4",
    )


def _toys(spec: Spec, n: int, generator: torch.Generator) -> Batch:
    """Points that fall off exponentially around a straight line."""
    cond = {prior.name: prior.draw(n, generator) for prior in spec.prior}
    if PARTICLE in cond:
        cond[PARTICLE] = cond[PARTICLE].long()
    tilt = 0.2 * torch.randn(n, 2, generator=generator)
    direction = torch.cat([tilt, torch.ones(n, 1)], 1)
    cond[DIRECTION] = direction / direction.norm(dim=1, keepdim=True)
    width = spec.shape[0]
    count = (4 * cond[ENERGY][:, 0]).long().clamp(1, width)
    mask = torch.arange(width) < count[:, None]
    unit = torch.rand(n, width, 4, generator=generator).clamp(1e-6, 1 - 1e-6)
    last = spec.features[2].high or 0.0
    layer = ((last + 1) * unit[..., 2] * unit[..., 3].sqrt()).floor()
    radius, angle = -10 * torch.log(unit[..., 0]), 2 * torch.pi * unit[..., 1]
    plane = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    plane = plane + (2 * layer[..., None] * tilt[:, None])
    energy = 5e-3 * -torch.log(unit[..., 3])
    parts = [plane.clamp(-90, 90), layer[..., None], energy[..., None]]
    if spec.shape[1] == 5:
        parts.insert(2, 0.01 * layer[..., None] + unit[..., :1])
    x = torch.cat(parts, -1)
    return Batch(torch.where(mask[..., None], x, 0.0), cond, mask=mask)
