"""CaloGAN: three Cartesian layers of a liquid-argon calorimeter, one file per particle.

HDF5 with root keys ``energy`` (N, 1) [GeV], ``layer_0`` (N, 3, 96), ``layer_1`` (N, 12, 12),
``layer_2`` (N, 12, 6) and ``overflow`` (N, 3) [MeV]. The public files are named after their
particle: ``eplus``, ``gamma``, ``piplus``. A file with several particles, as a generator writes
it, has a further key ``particle`` (N, 1), the number of the class in the key's attribute ``particles``.

Reference: Paganini, de Oliveira and Nachman 2017, arXiv:1705.02355; Mendeley 10.17632/pvn3xc3wy5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import torch

from simulacra.core import Batch, Field, FormatError, Geometry, Layer, Prior, Spec, UserError
from simulacra.core.constructors import constructor
from simulacra.formats.base import FileInfo
from simulacra.formats.calochallenge import ENERGY, RESPONSE, geometry_of
from simulacra.formats.hdf5 import Array, Hdf5Format, Hdf5Writer, attribute, present, tensor
from simulacra.formats.hdf5_data import dataset
from simulacra.formats.toy import grid_showers

PARTICLES = ("eplus", "gamma", "piplus")
SHAPES = ((3, 96), (12, 12), (12, 6))
_NAMES = "particles"  # attribute with the particles that the numbers of key particle stand for
WINDOW = 240.0  # mm, half width of each layer
DEPTHS = (-240.0, -150.0, 197.0, 240.0)  # mm, boundaries of the layers


class CaloGan(Hdf5Format):
    """Reader and writer, see the module's docstring.

    Args:
        spec: Made by :func:`calogan`.
        only: Particles that a file may be named after where ``particle`` is no condition; None: any.
    """

    nonnegative = ("layer_0", "layer_1", "layer_2", "overflow")

    def __init__(self, spec: Spec, only: Sequence[str] | None = None) -> None:
        super().__init__(spec)
        self.only = tuple(only or PARTICLES)

    @property
    def particles(self) -> tuple[str, ...]:
        """Classes of the condition ``particle``, empty where all showers are of one kind."""
        fields = [field for field in self.spec.conditions if field.name == "particle"]
        return (fields[0].classes or ()) if fields else ()

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""
        keys: dict[str, tuple[int, ...]] = {"energy": (1,)}
        keys |= {f"layer_{number}": shape for number, shape in enumerate(SHAPES)} | {
            "overflow": (3,)
        }
        if self.particles and (file is None or "particle" in file):
            keys["particle"] = (1,)
        return keys

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        return {ENERGY: "energy", "overflow": "overflow"}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key."""
        x = geometry_of(self.spec).join(
            [tensor(arrays[f"layer_{number}"]) for number in range(len(SHAPES))]
        )
        cond = {ENERGY: tensor(arrays["energy"]).reshape(-1, 1)}
        if self.particles:
            cond["particle"] = self._classes(arrays, path, len(x))
        return Batch(x, cond, {"overflow": tensor(arrays["overflow"])})

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        layers = geometry_of(self.spec).split(batch.x.float().cpu())
        arrays = {f"layer_{number}": layer.numpy() for number, layer in enumerate(layers)}
        arrays |= {"energy": batch.cond[ENERGY].float().cpu().numpy()}
        arrays |= {"overflow": batch.event["overflow"].float().cpu().numpy()}
        if self.particles:
            arrays["particle"] = batch.cond["particle"].float().cpu().numpy()
        return arrays

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        """A writer of this format."""
        return CaloGanWriter(path, self, attributes or {})

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events."""
        generator = torch.Generator().manual_seed(seed)
        cond = {prior.name: prior.draw(n, generator) for prior in self.spec.prior}
        if self.particles:
            cond["particle"] = cond["particle"].long()
        x = grid_showers(geometry_of(self.spec), cond[ENERGY][:, 0], 1e3, 0.0, generator)
        overflow = 0.3 * torch.rand(n, 3, generator=generator) * cond[ENERGY]
        self.write(path, Batch(x, cond, {"overflow": overflow}))
        return self.header(path)

    def _header(self, file: h5py.File, path: Path) -> FileInfo:
        wanted = self.particles or self.only
        named = [name for name in PARTICLES if name in path.stem]
        if present(file, path, "particle"):
            names = attribute(dataset(file, path, "particle"), path, _NAMES)
            if not self.particles or names not in (None, ", ".join(self.particles)):
                raise FormatError(
                    f"{path}: the file holds showers of {names or 'several particles'} by number, expected "
                    f"{', '.join(wanted)}: set data.format.spec.particles"
                )
        elif len(named) == 1 and named[0] not in wanted:
            raise FormatError(
                f"{path}: the file is named after {named[0]}, expected {', '.join(wanted)}: set "
                "data.format.spec.particles"
            )
        return super()._header(file, path)

    def _classes(self, arrays: dict[str, Array], path: Path, n: int) -> torch.Tensor:
        if "particle" in arrays:
            found = tensor(arrays["particle"]).reshape(-1, 1)
            classes = found.long()
            if not torch.equal(classes.float(), found):
                raise FormatError(f"{path}: key 'particle' holds numbers that are not whole")
            if int(classes.min()) < 0 or int(classes.max()) >= len(self.particles):
                raise FormatError(
                    f"{path}: key 'particle' runs to {int(classes.max())}, the spec has {self.particles}"
                )
            return classes
        named = [number for number, name in enumerate(self.particles) if name in path.stem]
        if len(named) != 1:
            raise FormatError(
                f"{path}: neither key 'particle' nor the file's name says which of {self.particles} it is"
            )
        return torch.full((n, 1), named[0])


class CaloGanWriter(Hdf5Writer):
    """Also writes what the numbers of key ``particle`` stand for."""

    format: CaloGan

    def _open(self) -> None:
        super()._open()
        if self.format.particles:
            self.file["particle"].attrs[_NAMES] = ", ".join(self.format.particles)


@constructor
def calogan(particles: Sequence[str] = ("eplus",)) -> Spec:
    """Showers of 1 to 100 GeV; with several ``particles`` their class is a condition."""
    unknown = sorted(set(particles) - set(PARTICLES))
    if unknown or not particles or len(set(particles)) != len(particles):
        raise UserError(f"CaloGAN has the particles {', '.join(PARTICLES)}, got {list(particles)}")
    conditions: tuple[Field, ...] = (
        Field(ENERGY, "GeV", low=1.0, high=100.0, log=True, role="energy"),
    )
    prior: tuple[Prior, ...] = (Prior(ENERGY, "uniform", (1.0, 100.0)),)
    if len(particles) > 1:
        conditions += (Field("particle", classes=tuple(particles)),)
        prior += (Prior("particle", "discrete", tuple(float(k) for k in range(len(particles)))),)
    geometry = _geometry()
    return Spec(
        "calogan",
        "layers",
        (geometry.n_voxels,),
        "MeV",
        conditions=conditions,
        event=(Field("overflow", "MeV", dim=3, low=0.0),),
        geometry=geometry,
        prior=prior,
        response=RESPONSE,
        simulator="Geant4",
    )


def _geometry() -> Geometry:
    layers = []
    for number, shape in enumerate(SHAPES):
        edges = tuple(
            tuple(WINDOW * (2 * k - cells) / cells for k in range(cells + 1)) for cells in shape
        )
        depth = (DEPTHS[number] + DEPTHS[number + 1]) / 2
        layers.append(Layer(number, ("phi", "eta"), (edges[0], edges[1]), depth))
    return Geometry(tuple(layers))
