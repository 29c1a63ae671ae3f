"""CaloChallenge 2022: showers of photons, pions and electrons in cylindrical voxels.

HDF5 with two root keys, ``incident_energies`` (N, 1) and ``showers`` (N, V), both in MeV. Voxels
run over layer, then angle, then radius (fastest); a binning file says how many of each there are.

Reference: Krause et al. 2024, arXiv:2410.21611; Zenodo records 8099322, 6366270 and 6366323.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import torch

from simulacra.core import Batch, Field, FormatError, Geometry, Prior, Spec
from simulacra.core.constructors import constructor
from simulacra.formats.base import FileInfo
from simulacra.formats.binning import read_binning
from simulacra.formats.hdf5 import Array, Hdf5Format, tensor
from simulacra.formats.toy import grid_showers

ENERGY = "incident_energy"
SAMPLING_THRESHOLD = 0.5e-3 / 0.033
"""Readout threshold of data sets 2 and 3 [MeV]: 0.5 keV in silicon over the sampling fraction."""
DS1_ENERGIES = tuple(float(2**power) for power in range(8, 23))
"""Incident energies of data set 1 [MeV]."""
RESPONSE = (0.01, 3.0)
"""Median of visible over incident energy, very widely: showers are calibrated to the incident energy."""
DS1_PHOTON_COUNTS = (10_000.0,) * 11 + (5_000.0, 3_000.0, 2_000.0, 1_000.0)
DS1_PION_COUNTS = (10_000.0,) * 10 + (9_800.0, 5_000.0, 3_000.0, 2_000.0, 1_000.0)


class CaloChallenge(Hdf5Format):
    """Reader and writer, see the module's docstring.

    Args:
        spec: One of :func:`ds1_photons`, :func:`ds1_pions`, :func:`ds2`, :func:`ds3`, or one of
            the same form.
    """

    nonnegative = ("showers",)

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""
        return {"incident_energies": (1,), "showers": (self.spec.n_voxels,)}

    def axes(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Showers may also stand as (N, layers, angles, radii), which is their order."""
        return self.spec.shape if key == "showers" else shape

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        return {ENERGY: "incident_energies"}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key."""
        x = tensor(arrays["showers"]).reshape(-1, *self.spec.shape)
        return Batch(x, {ENERGY: tensor(arrays["incident_energies"]).reshape(-1, 1)})

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        return {
            "incident_energies": batch.cond[ENERGY].float().cpu().numpy(),
            "showers": batch.x.float().flatten(1).cpu().numpy(),
        }

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events."""
        generator = torch.Generator().manual_seed(seed)
        cond = {prior.name: prior.draw(n, generator) for prior in self.spec.prior}
        x = grid_showers(
            geometry_of(self.spec), cond[ENERGY][:, 0] / 1e3, 1e3, self.spec.threshold, generator
        )
        self.write(path, Batch(x.reshape(n, *self.spec.shape), cond))
        return self.header(path)


def geometry_of(spec: Spec) -> Geometry:
    """The geometry of a voxel data set, which always has one."""
    if spec.geometry is None:
        raise ValueError(f"data set {spec.name} has no geometry")
    return spec.geometry


@constructor
def ds1_photons(binning: str | None = None) -> Spec:
    """Photons in ATLAS' barrel: 368 voxels in layers 0, 1, 2, 3, 12; ``binning`` is a file of one's own."""
    return _ds1("ds1_photons", binning or "binning_dataset_1_photons.xml", DS1_PHOTON_COUNTS)


@constructor
def ds1_pions(binning: str | None = None) -> Spec:
    """Charged pions in ATLAS' barrel: 533 voxels in layers 0, 1, 2, 3, 12, 13, 14."""
    return _ds1("ds1_pions", binning or "binning_dataset_1_pions.xml", DS1_PION_COUNTS)


@constructor
def ds2(binning: str | None = None) -> Spec:
    """Electrons in a silicon-tungsten cylinder: 45 layers x 16 angles x 9 radii."""
    return _cylinder("ds2", binning or "binning_dataset_2.xml", 1024)


@constructor
def ds3(binning: str | None = None) -> Spec:
    """The detector of data set 2 in finer voxels: 45 layers x 50 angles x 18 radii."""
    return _cylinder("ds3", binning or "binning_dataset_3.xml", 64)


def _ds1(name: str, binning: str, counts: tuple[float, ...]) -> Spec:
    geometry = read_binning(binning)
    return Spec(
        name,
        "layers",
        (geometry.n_voxels,),
        "MeV",
        conditions=(
            Field(
                ENERGY, "MeV", low=DS1_ENERGIES[0], high=DS1_ENERGIES[-1], log=True, role="energy"
            ),
        ),
        geometry=geometry,
        cut=1.0,  # MeV, the challenge's evaluation since November 2023
        prior=(Prior(ENERGY, "discrete", DS1_ENERGIES, counts),),
        response=RESPONSE,
        simulator="Geant4",
    )


def _cylinder(name: str, binning: str, sample_batch: int) -> Spec:
    geometry = read_binning(binning, pitch=3.4)
    if not geometry.regular:
        raise FormatError(f"{binning}: {name} needs layers of equal shape, this file's differ")
    return Spec(
        name,
        "grid",
        geometry.padded_shape,
        "MeV",
        conditions=(Field(ENERGY, "MeV", low=1e3, high=1e6, log=True, role="energy"),),
        geometry=geometry,
        threshold=SAMPLING_THRESHOLD,
        cut=SAMPLING_THRESHOLD,
        prior=(Prior(ENERGY, "loguniform", (1e3, 1e6)),),
        sample_batch=sample_batch,
        response=RESPONSE,
        simulator="Geant4",
    )
