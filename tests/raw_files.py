"""Files as generators leave them: rounding, soft masks and padding, for tests of what is cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from simulacra.core import Batch
from simulacra.evaluation.files import Opened, open_judged
from simulacra.formats.base import Format
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons, ds2
from simulacra.formats.calogan import CaloGan, calogan
from simulacra.formats.ild import IldGrid, ild_10x10
from simulacra.formats.jetnet import JetNetFormat, jetnet
from simulacra.formats.lemurs import Lemurs, lemurs
from simulacra.formats.showerdata import ShowerData, showerdata
from simulacra.physics.base import Axis, ObservableSet

SHOWERS: dict[str, tuple[Format, str]] = {
    "ds1_photons": (CaloChallenge(ds1_photons()), "showers"),
    "ds2": (CaloChallenge(ds2()), "showers"),
    "ild_10x10": (IldGrid(ild_10x10(), "10x10"), "10x10/layers"),
    "ild_cloud": (CaloCloud(ild_cloud()), "events"),
    "lemurs": (Lemurs(lemurs()), "events"),
    "showerdata": (ShowerData(showerdata()), "showers"),
    "calogan": (CaloGan(calogan()), "layer_0"),
}
JETS = JetNetFormat(jetnet(30, ["t"]), ["t"])


class Totals(ObservableSet):
    """The sum of all values of an event."""

    def __call__(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"total": batch.x.flatten(1).sum(1)}

    def axes(self) -> dict[str, Axis]:
        return {"total": Axis("total")}

    def features(self, batch: Batch) -> torch.Tensor:
        return batch.x.flatten(1).sum(1)[:, None]


def set_cell(path: Path, key: str, event: int, value: float) -> None:
    """Give one cell (of a cloud the energy of one point) of an event a value."""
    with h5py.File(path, "a") as file:
        data, whole = file[key], file[key][event]
        if data.dtype.names:
            whole["showers"][1, 2, 3] = value
        elif key == "events":
            whole[3, -1] = value
        else:
            whole.reshape(-1)[3] = value
        data[event] = whole


def made(form: Format, path: Path, n: int = 8) -> Path:
    form.toy(path, n, seed=5)
    return path


def opened(form: Format, path: Path, clean: bool = False) -> Opened:
    return open_judged(form, str(path), None, Totals(form.spec), clean)[0]


def raw_jets(path: Path, change: Callable[[np.ndarray], None]) -> Path:
    JETS.toy(path, 6)
    with h5py.File(path, "a") as file:
        particles = file["particle_features"][:]
        change(particles)
        file["particle_features"][:] = particles
    return path


def soft(particles: np.ndarray) -> None:
    particles[..., 3] = np.where(particles[..., 3] > 0, 0.98, 0.01)


def centred(particles: np.ndarray) -> None:
    particles[..., 3] -= 0.5


def noisy(particles: np.ndarray) -> None:
    particles[..., :3] += np.where(particles[..., 3:] > 0, 0, 1e-4)


def everything(particles: np.ndarray) -> None:
    noisy(particles)
    soft(particles)
