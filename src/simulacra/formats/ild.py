"""Photon showers in ILD's silicon-tungsten calorimeter as regular grids of 5.09 mm cells.

HDF5 with one group per grid: ``30x30`` (N, 30, 30, 30), ``10x10`` (N, 30, 10, 10) or ``ecal``
(N, 30, 60, 30), each with ``energy`` (N, 1) [GeV] and ``layers`` [MeV], whose first axis is the
layer; ``ecal`` also has ``theta`` (N, 1) [deg].

Reference: Buhmann et al. 2020, arXiv:2005.05334 (fixed angle); Diefenbacher et al. 2023,
arXiv:2303.18150 (angles) and arXiv:2302.11594 (10 x 10).

Note: The order of the last two axes of the angle data set is not documented by its authors; the
long axis is taken first.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import torch

from simulacra.core import Batch, Field, Prior, Spec, regular_grid
from simulacra.core.constructors import constructor
from simulacra.formats.base import FileInfo
from simulacra.formats.calochallenge import ENERGY, geometry_of
from simulacra.formats.hdf5 import Array, Hdf5Format, tensor
from simulacra.formats.toy import grid_showers

PITCH = 5.088333  # mm, cells of the public conversion
SENSOR = 0.5250244  # mm, thickness of the silicon
LAYER_BOTTOMS = (
    *(
        1811.34020996,
        1814.46508789,
        1823.81005859,
        1826.93505859,
        1836.2800293,
        1839.4050293,
        1848.75,
        1851.875,
    ),
    *(
        1861.2199707,
        1864.3449707,
        1873.68994141,
        1876.81494141,
        1886.16003418,
        1889.28503418,
        1898.63000488,
    ),
    *(
        1901.75500488,
        1911.09997559,
        1914.22497559,
        1923.56994629,
        1926.69494629,
        1938.14001465,
        1943.36499023,
    ),
    *(
        1954.81005859,
        1960.03503418,
        1971.47998047,
        1976.70495605,
        1988.15002441,
        1993.375,
        2004.81994629,
    ),
    2010.04504395,
)
"""Lower face of each sensor along ILD's y axis, the shower's direction [mm]."""
_ORIGIN = (-75.912, -77.0)  # mm, lower edges of the 30 x 30 grid in x and z around the photon
_HALF_MIP = 0.1  # MeV, cut of all published figures
RESPONSE = (1e-3, 0.1)
"""Median of visible over incident energy, very widely: 1 to 100 MeV per GeV in the silicon."""
_VISIBLE = 20.0  # MeV seen per GeV, for toys


class IldGrid(Hdf5Format):
    """Reader and writer of one group.

    Args:
        spec: One of :func:`ild`, :func:`ild_10x10`, :func:`ild_angles`, or one of the same form.
        group: Group of the file that holds the grid.
        crop_from: Group with a larger grid whose middle is taken where a file lacks ``group``, or
            None.
        crop_shape: Rows and columns of that larger grid.
    """

    def __init__(
        self,
        spec: Spec,
        group: str,
        crop_from: str | None = None,
        crop_shape: tuple[int, int] = (30, 30),
    ) -> None:
        super().__init__(spec)
        self.group, self.crop_from, self.crop_shape = group, crop_from, crop_shape
        groups = (group,) if crop_from is None else (group, crop_from)
        self.nonnegative = tuple(f"{name}/layers" for name in groups)

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""
        group, shape = self.group, self.spec.shape
        if (
            file is not None
            and self.crop_from is not None
            and self.group not in file
            and self.crop_from in file
        ):
            group, shape = self.crop_from, (shape[0], *self.crop_shape)
        return {
            f"{group}/layers": shape,
            **{f"{group}/{key}": (1,) for key in self._keys().values()},
        }

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        group = next(iter(self.columns(file))).split("/")[0]
        return {name: f"{group}/{key}" for name, key in self._keys().items()}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key."""
        group = next(iter(arrays)).split("/")[0]
        x = tensor(arrays[f"{group}/layers"])
        _, rows, cols = self.spec.shape
        first, second = (x.shape[2] - rows) // 2, (x.shape[3] - cols) // 2
        x = x[:, :, first : first + rows, second : second + cols].contiguous()
        cond = {
            name: tensor(arrays[f"{group}/{key}"]).reshape(-1, 1)
            for name, key in self._keys().items()
        }
        return Batch(x, cond)

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        cond = {
            f"{self.group}/{key}": batch.cond[name].float().cpu().numpy()
            for name, key in self._keys().items()
        }
        return {f"{self.group}/layers": batch.x.float().cpu().numpy(), **cond}

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write ``n`` simple random events."""
        generator = torch.Generator().manual_seed(seed)
        cond = {prior.name: prior.draw(n, generator) for prior in self.spec.prior}
        x = grid_showers(
            geometry_of(self.spec), cond[ENERGY][:, 0], _VISIBLE, self.spec.threshold, generator
        )
        self.write(path, Batch(x.reshape(n, *self.spec.shape), cond))
        return self.header(path)

    def _keys(self) -> dict[str, str]:
        """Key of each condition inside the group."""
        return {
            field.name: "energy" if field.name == ENERGY else field.name
            for field in self.spec.conditions
        }


@constructor
def ild() -> Spec:
    """30 layers of 30 x 30 cells, photons of 10 to 100 GeV at a right angle."""
    return _grid("ild", 30, 30, _ORIGIN)


@constructor
def ild_10x10() -> Spec:
    """The middle 10 x 10 cells of :func:`ild`."""
    return _grid("ild_10x10", 10, 10, (_ORIGIN[0] + 10 * PITCH, _ORIGIN[1] + 10 * PITCH), 1024)


@constructor
def ild_angles() -> Spec:
    """30 layers of 60 x 30 cells, photons of 10 to 100 GeV at polar angles of 30 to 90 degrees."""
    spec = _grid("ild_angles", 60, 30, (-30 * PITCH, -15 * PITCH))
    return spec.with_(
        conditions=(*spec.conditions, Field("theta", "deg", low=30.0, high=90.0)),
        prior=(*spec.prior, Prior("theta", "uniform", (30.0, 90.0))),
    )


def _grid(
    name: str, rows: int, cols: int, origin: tuple[float, float], sample_batch: int = 64
) -> Spec:
    edges = tuple(
        [low + PITCH * k for k in range(n + 1)] for low, n in zip(origin, (rows, cols), strict=True)
    )
    depths = [bottom + SENSOR / 2 for bottom in LAYER_BOTTOMS]
    return Spec(
        name,
        "grid",
        (len(depths), rows, cols),
        "MeV",
        conditions=(Field(ENERGY, "GeV", low=10.0, high=100.0, role="energy"),),
        geometry=regular_grid(len(depths), (edges[0], edges[1]), ("x", "z"), depths),
        cut=_HALF_MIP,
        prior=(Prior(ENERGY, "uniform", (10.0, 100.0)),),
        sample_batch=sample_batch,
        response=RESPONSE,
        simulator="Geant4",
    )
