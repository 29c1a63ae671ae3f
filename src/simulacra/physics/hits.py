r"""Showers as lists of hit voxels: a few percent of the voxels hold energy, so sums over hits cost a
fraction of sums over voxels.

Hits are rows of a sparse matrix :math:`E` with one row per event and layer, and any set of functions of
position :math:`g_{v,k}` is summed over all layers of all events in one product,

.. math:: M_{(b,l),k} = \sum_{v \in l} g_{v,k}\, e_{b,v} = (E\,g)_{(b,l),k},

in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from simulacra.core import Geometry
from simulacra.physics.base import Ragged

BLOCK = 2**18
"""Voxels that are searched at once, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Hits:
    """Voxels at or above a cut (and above 0) of some showers, in order of event and voxel.

    Args:
        energy: Energy of each hit ``(n,)``, in the type of the showers.
        voxel: Flat number of its voxel ``(n,)``.
        counts: Hits per event and layer ``(B, L)``, int64.
    """

    energy: NDArray[np.floating]
    voxel: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, flat: Tensor, geometry: Geometry, cut: float) -> Hits:
        """Hits of showers ``(B, V)``."""
        showers = flat.detach().cpu().contiguous().numpy()
        first = np.cumsum([0, *geometry.sizes[:-1]])
        step = max(1, BLOCK // geometry.n_voxels)
        parts = [
            _block(showers[start : start + step], first, cut)
            for start in range(0, len(showers), step)
        ]
        if not parts:
            parts = [_block(showers, first, cut)]
        energy, voxel, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(energy, voxel, counts)

    @property
    def per_event(self) -> NDArray[np.int64]:
        """Hits per event ``(B,)``."""
        found: NDArray[np.int64] = self.counts.sum(1)
        return found

    def ragged(self) -> Ragged:
        """Energies as an observable."""
        return Ragged(torch.from_numpy(self.energy), torch.from_numpy(self.per_event))

    def layer_energy(self) -> Tensor:
        """Energy per layer ``(B, L)``, float64."""
        rows, counts = np.zeros(self.counts.size), self.counts.reshape(-1)
        filled = counts > 0
        if filled.any():
            start = (np.cumsum(counts) - counts)[filled]
            rows[filled] = np.add.reduceat(self.energy, start, dtype=np.float64)
        return torch.from_numpy(rows).view(self.counts.shape)

    def moments(self, functions: Tensor) -> Tensor:
        """Sums over layers ``(B, L, G)``, float64, of ``functions`` of position ``(V, G)``."""
        rows = self.counts.size
        start = np.zeros(rows + 1, dtype=np.int32 if len(self.voxel) < 2**31 else np.int64)
        np.cumsum(self.counts.reshape(-1), out=start[1:])
        matrix = sparse.csr_array(
            (self.energy.astype(np.float64), self.voxel, start), shape=(rows, len(functions))
        )
        return torch.from_numpy(matrix @ functions.double().numpy()).view(*self.counts.shape, -1)

    def grouped(self, group: Tensor, groups: int) -> Tensor:
        """Energy per event and group of voxels ``(B, groups)``, float64; ``group`` is ``(V,)``."""
        events = len(self.counts)
        key = np.repeat(np.arange(events) * groups, self.per_event)
        key += group.numpy()[self.voxel]
        found = np.bincount(key, self.energy, minlength=events * groups).astype(np.float64)
        return torch.from_numpy(found).view(events, groups)

    def summed(self, voxels: int, weight: Tensor | None = None) -> Tensor:
        """Energy per voxel of all events together ``(V,)``, float64, with event weights ``(B,)``."""
        energy: NDArray[np.floating] = self.energy
        if weight is not None:
            energy = energy * np.repeat(weight.double().numpy(), self.per_event)
        return torch.from_numpy(
            np.bincount(self.voxel, energy, minlength=voxels).astype(np.float64)
        )


def _block(
    showers: NDArray[np.floating], first: NDArray[np.int64], cut: float
) -> tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.int64]]:
    """Hits of some showers ``(B, V)`` whose layers begin at the voxels ``first`` ``(L,)``."""
    events, voxels = showers.shape
    flat = showers.reshape(-1)
    hit = np.flatnonzero(flat >= cut if cut > 0 else flat > 0)
    event = np.arange(events) * voxels
    begins = np.searchsorted(hit, (event[:, None] + first).reshape(-1))
    counts = np.diff(begins, append=len(hit)).reshape(events, len(first))
    position = hit.astype(np.int32)
    position -= np.repeat(event.astype(np.int32), counts.sum(1))
    return flat[hit], position, counts
