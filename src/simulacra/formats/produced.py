"""Showers in a detector of one's own: the layout of the CaloChallenge, with angles and points of entry where
these differ.

HDF5 with root keys ``incident_energies`` (N, 1) and ``showers`` (N, V) in MeV, layer by layer, rows by rows;
where particles come at different angles, ``incident_theta`` and ``incident_phi`` (N, 1) in degrees; where
they enter at different points, ``incident_entry_x`` and ``incident_entry_y`` (N, 1) in mm from the middle.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from simulacra.core import Batch, Field, Prior, Spec
from simulacra.core.constructors import constructor
from simulacra.core.detector import Detector
from simulacra.core.ranges import NotNegative
from simulacra.formats.calochallenge import ENERGY, RESPONSE, CaloChallenge
from simulacra.formats.hdf5 import Array, tensor

VARIED = {
    "theta": ("theta", "deg"),
    "phi": ("phi", "deg"),
    "entry_x": ("x", "mm"),
    "entry_y": ("y", "mm"),
}
"""Range of the gun and unit of what is a condition where that range is no point: polar angle from the normal
of the plates, azimuth, and the point of entry along both transverse axes."""


class ProducedShowers(CaloChallenge):
    """Reader and writer, see the module's docstring.

    Args:
        spec: Made by :func:`produced`.
    """

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""
        return {**super().columns(file), **dict.fromkeys(self._varied.values(), (1,))}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        return {**super().fields(file), **self._varied}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key."""
        batch = super().decode(arrays, path)
        found = {name: tensor(arrays[key]).reshape(-1, 1) for name, key in self._varied.items()}
        return Batch(batch.x, {**batch.cond, **found})

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        found = {key: batch.cond[name].float().cpu().numpy() for name, key in self._varied.items()}
        return {**super().encode(batch), **found}

    @property
    def _varied(self) -> dict[str, str]:
        """Key of each angle and coordinate that is a condition."""
        return {f.name: f"incident_{f.name}" for f in self.spec.conditions if f.name in VARIED}


@constructor
def produced(detector: Detector, cut: NotNegative = 1.0) -> Spec:
    """What a detector promises of the showers of its gun.

    Args:
        detector: Its cells are the voxels; the ranges of its gun are the conditions'.
        cut: Where the evaluation cuts cells [MeV].
    """
    gun, geometry = detector.gun, detector.geometry
    low, high = (1e3 * energy for energy in gun.energy)
    ranges = {name: (getattr(gun, key), unit) for name, (key, unit) in VARIED.items()}
    varied = {name: found for name, found in ranges.items() if found[0][0] < found[0][1]}
    return Spec(
        detector.name,
        "grid" if geometry.regular else "layers",
        geometry.padded_shape if geometry.regular else (geometry.n_voxels,),
        "MeV",
        conditions=(
            Field(ENERGY, "MeV", low=low, high=high, log=True, role="energy"),
            *(
                Field(name, unit, low=a, high=b, periodic=name == "phi" and b - a == 360)
                for name, ((a, b), unit) in varied.items()
            ),
        ),
        geometry=geometry,
        cut=cut,
        prior=(
            Prior(ENERGY, gun.spectrum, (low, high)),
            *(Prior(name, "uniform", found) for name, (found, _) in varied.items()),
        ),
        sample_batch=256,
        response=RESPONSE,
        simulator="Geant4",
    )
