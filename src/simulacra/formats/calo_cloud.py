"""CaloClouds: photon showers in ILD's calorimeter as clouds of up to 6,000 points.

HDF5 with root keys ``energy`` (N, 1) [GeV] and ``events`` (N, 4, 6000), rows x [mm], layer number,
z [mm] and energy [GeV]; newer files of the same group have ``events`` (N, 6000, 4). Fewer points than that
are padded. Real points stand last in the file, after zeros; in a
:class:`~simulacra.core.Batch` they stand first, in the same order, with a mask. A point is real
where its energy is above 0.

Reference: Buhmann et al. 2023, arXiv:2305.04847.
"""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, Prior, Spec
from simulacra.core.constructors import constructor
from simulacra.core.geometry import regular_grid
from simulacra.formats.base import FileInfo
from simulacra.formats.calochallenge import ENERGY
from simulacra.formats.cleaning import Cleaning
from simulacra.formats.hdf5 import Array, Hdf5Format, event_shape, pad_points, tensor
from simulacra.formats.ild import LAYER_BOTTOMS, PITCH, RESPONSE

POINTS = 6000
CENTRE = (0.0, 40.0)  # mm, where the photon enters, x and z
PHASE = (-75.912, -37.0)  # mm, position of a cell edge along x and z
LOWS, REACH = (-200.0, -160.0), 400.0  # mm, where points lie along x and z
SUBCELL = PITCH / 6  # mm


class CaloCloud(Hdf5Format):
    """Reader and writer, see the module's docstring.

    Args:
        spec: Made by :func:`ild_cloud`.
    """

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""
        event = (4, self.spec.shape[0])
        if file is not None:
            found = event_shape(file, Path(file.filename), "events") or ()
            points = found[1:] if found[:1] == (4,) else found[:1]
            if len(found) == 2 and 4 in found and 0 < points[0] <= self.spec.shape[0]:
                event = found
        return {"energy": (1,), "events": event}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        return {ENERGY: "energy"}

    def cleaned(
        self, arrays: dict[str, Array], path: Path, start: int, cleaning: Cleaning
    ) -> dict[str, Array]:
        """Points of negative energy have none, and are none."""
        events = arrays["events"].copy()
        energy = events[:, 3] if events.shape[1] == 4 else events[..., 3]
        energy[:] = cleaning.negative(path, "events", energy, start, self.spec.unit)
        return {**arrays, "events": events}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key."""
        events = arrays["events"]
        if events.shape[1] != 4:
            events = events.transpose(0, 2, 1)
        if events.size and events[:, 3].min() < 0:
            raise FormatError(
                f"{path}: key 'events' holds negative energies (down to {events[:, 3].min():.6g}), "
                "expected GeV at or above 0"
            )
        x, mask = points_first(
            tensor(pad_points(events.transpose(0, 2, 1), self.spec.shape[0], path))
        )
        return Batch(x, {ENERGY: tensor(arrays["energy"]).reshape(-1, 1)}, mask=mask)

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        if batch.mask is None:
            raise ValueError("a cloud needs a mask")
        x = torch.where(batch.mask[..., None], batch.x, 0.0).float().cpu()
        # stable: False (0) before True (1), so padding comes first and points keep their order
        order = torch.argsort(batch.mask.cpu().to(torch.uint8), dim=1, stable=True)
        events = torch.take_along_dim(x, order[..., None], 1)
        return {
            "energy": batch.cond[ENERGY].float().cpu().numpy(),
            "events": np.ascontiguousarray(events.numpy().transpose(0, 2, 1)),
        }

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events."""
        generator = torch.Generator().manual_seed(seed)
        energy = self.spec.prior[0].draw(n, generator)
        width = self.spec.shape[0]
        count = (
            (40 * energy[:, 0] * (1 + 0.05 * torch.randn(n, generator=generator)))
            .long()
            .clamp(1, width)
        )
        mask = torch.arange(width) < count[:, None]
        unit = torch.rand(n, width, 4, generator=generator).clamp(1e-6, 1 - 1e-6)
        radius, angle = -10 * torch.log(unit[..., 0]), 2 * torch.pi * unit[..., 1]
        plane = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        plane = ((plane / SUBCELL).round() * SUBCELL).clamp(-190, 190) + torch.tensor(CENTRE)
        layer = (len(LAYER_BOTTOMS) * unit[..., 2] * unit[..., 3].sqrt()).floor()
        value = 1e-4 * torch.exp(torch.randn(n, width, generator=generator))  # GeV
        x = torch.stack([plane[..., 0], layer, plane[..., 1], value], -1)
        self.write(path, Batch(torch.where(mask[..., None], x, 0.0), {ENERGY: energy}, mask=mask))
        return self.header(path)


def points_first(x: Tensor) -> tuple[Tensor, Tensor]:
    """Bring points with a last feature above 0 to the front, in order: ``(B, N, F)``, and a mask."""
    real = x[..., -1] > 0
    order = torch.argsort((~real).to(torch.uint8), dim=1, stable=True)
    mask = torch.take_along_dim(real, order, 1)
    return torch.where(mask[..., None], torch.take_along_dim(x, order[..., None], 1), 0.0), mask


@constructor
def ild_cloud() -> Spec:
    """Up to 6,000 points per photon of 10 to 90 GeV; geometry and cut are those of cells of 5.09 mm."""
    rows, cols = (_edges(low, phase) for low, phase in zip(LOWS, PHASE, strict=True))
    return Spec(
        "ild_cloud",
        "cloud",
        (POINTS, 4),
        "GeV",
        geometry=regular_grid(len(LAYER_BOTTOMS), (rows, cols), ("x", "z")),
        features=(
            Field("x", "mm", low=LOWS[0], high=LOWS[0] + REACH),
            Field("layer", low=0.0, high=30.0),
            Field("z", "mm", low=LOWS[1], high=LOWS[1] + REACH),
            Field("e", "GeV", low=0.0),
        ),
        conditions=(Field(ENERGY, "GeV", low=10.0, high=90.0, role="energy"),),
        cut=1e-4,  # GeV, half a MIP
        prior=(Prior(ENERGY, "uniform", (10.0, 90.0)),),
        sample_batch=64,
        response=RESPONSE,
        simulator="Geant4",
    )


def _edges(low: float, phase: float) -> list[float]:
    """Edges of cells from the last at or below ``low`` to the first at or above ``low + REACH``."""
    first = math.floor((low - phase) / PITCH)
    last = math.ceil((low + REACH - phase) / PITCH)
    return [phase + PITCH * k for k in range(first, last + 1)]
