"""LEMURS: photon showers in five calorimeters on one cylindrical mesh along the photon's direction.

HDF5 with one data set of records, ``events`` (N,), whose members are ``incident_energy`` [MeV],
``incident_theta`` and ``incident_phi`` [rad] and ``showers`` (9, 16, 45) [MeV] over radius, angle and depth;
files that hold the same as four data sets at the root are read, too. In a :class:`~simulacra.core.Batch`
cells stand as in data set 2 of the CaloChallenge, (45, 16, 9): layer, angle, radius. Energies are those
deposited in the sensitive material: nothing is divided by a sampling fraction.

Reference: McKeown et al. 2025, arXiv:2509.05108; Zenodo record 17045562.

Note:
    The energies of the public files are flat between 1 GeV and 1 TeV (100 GeV for FCCee), polar angles
    between 0.87 and 2.27 rad, azimuths over the whole turn. The mesh is one of cells, not of millimetres: its
    distances here are those of data set 2, whose detector (Par04, Si-W) is one of the five.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Batch, Field, FormatError, Prior, Spec
from simulacra.core.constructors import constructor
from simulacra.formats.base import FileInfo
from simulacra.formats.calochallenge import ENERGY, ds2, geometry_of
from simulacra.formats.hdf5 import WEIGHT, Array, Hdf5Format, Hdf5Writer, dataset, present, tensor
from simulacra.formats.hdf5_data import Stored
from simulacra.formats.toy import grid_showers

EVENTS = "events"
THETA, PHI = "theta", "phi"
KEYS = {ENERGY: "incident_energy", THETA: "incident_theta", PHI: "incident_phi"}
"""Member of a record that holds each condition."""
CELLS = "showers"
RESPONSE = (1e-3, 3.0)
"""Median of visible over incident energy, very widely: five calorimeters, none of them calibrated."""
_VISIBLE = 33.0  # MeV seen per GeV, for toys


class Lemurs(Hdf5Format):
    """Reader and writer, see the module's docstring.

    Args:
        spec: Made by :func:`lemurs`.
    """

    nonnegative = (CELLS,)

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Members of a record and the shape of one event under each."""
        return {**dict.fromkeys(KEYS.values(), (1,)), CELLS: self.spec.shape[::-1]}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Member of each quantity per event."""
        return dict(KEYS)

    def data(self, file: h5py.File, path: Path, key: str) -> Stored:
        """One member of all records, or a data set of its own in files that have no records."""
        if not present(file, path, EVENTS):
            return super().data(file, path, key)
        events = dataset(file, path, EVENTS, kinds="V")
        names = events.dtype.names or ()
        if key not in names:
            found = f"records of {', '.join(names)}" if names else str(events.dtype)
            raise FormatError(
                f"{path}: key {EVENTS!r} holds {found}, expected records with the member {key!r}"
            )
        return Member(events, key)

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by member."""
        x = tensor(arrays[CELLS].transpose(0, 3, 2, 1))
        return Batch(x, {name: tensor(arrays[key]).reshape(-1, 1) for name, key in KEYS.items()})

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        cells = batch.x.float().cpu().numpy().transpose(0, 3, 2, 1)
        cond = {key: batch.cond[name].float().cpu().numpy() for name, key in KEYS.items()}
        return {**cond, CELLS: cells}

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        """A writer of records."""
        return RecordWriter(path, self, attributes or {})

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events."""
        generator = torch.Generator().manual_seed(seed)
        cond = {prior.name: prior.draw(n, generator) for prior in self.spec.prior}
        energy = cond[ENERGY][:, 0] / 1e3  # GeV
        x = grid_showers(geometry_of(self.spec), energy, _VISIBLE, self.spec.cut, generator)
        self.write(path, Batch(x.reshape(n, *self.spec.shape), cond))
        return self.header(path)


class Member:
    """One member of the records of a data set, read like a data set of its own.

    Args:
        records: All records.
        name: The member.

    Attributes:
        shape: Number of records and shape of the member in one of them.
    """

    def __init__(self, records: h5py.Dataset, name: str) -> None:
        self.records, self.name = records, name
        self.shape = (len(records), *records.dtype[name].shape)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: slice) -> NDArray[np.generic]:
        found: NDArray[np.generic] = self.records.fields(self.name)[index]
        return found


class RecordWriter(Hdf5Writer):
    """Streams batches into one extendable, compressed data set of records; weights stand beside it."""

    def _create_all(self) -> None:
        shapes = self.format.columns()
        kind = np.dtype(
            [(key, np.float32, shape if shape != (1,) else ()) for key, shape in shapes.items()]
        )
        self._create(EVENTS, (), kind)

    def _store(self, arrays: Mapping[str, Array]) -> None:
        records = np.empty(len(arrays[CELLS]), self.file[EVENTS].dtype)
        for name in records.dtype.names or ():
            records[name] = arrays[name].reshape(records[name].shape)
        super()._store({key: values for key, values in arrays.items() if key == WEIGHT})
        super()._store({EVENTS: records})


@constructor
def lemurs(
    binning: str | None = None,
    highest: float = 1e6,
    threshold: float = 0.0,
    cut: float = 5e-4,
) -> Spec:
    """45 layers x 16 angles x 9 radii, photons from 1 GeV on at polar angles of 0.87 to 2.27 rad.

    Args:
        binning: Path of a binning XML with the distances of a detector, None for those of data set 2.
        highest: Largest incident energy [MeV].
        threshold: Readout threshold [MeV].
        cut: Where the evaluation cuts cells [MeV]; no public evaluation says it: the default is the
            readout threshold of data set 2 before its calibration.
    """
    mesh = ds2(binning)
    return mesh.with_(
        name="lemurs",
        conditions=(
            Field(ENERGY, "MeV", low=1e3, high=highest, log=True, role="energy"),
            Field(THETA, "rad", low=0.87, high=2.27),
            Field(PHI, "rad", low=0.0, high=2 * math.pi, periodic=True),
        ),
        prior=(
            Prior(ENERGY, "uniform", (1e3, highest)),
            Prior(THETA, "uniform", (0.87, 2.27)),
            Prior(PHI, "uniform", (0.0, 2 * math.pi)),
        ),
        threshold=threshold,
        cut=max(cut, threshold),
        response=RESPONSE,
    )
