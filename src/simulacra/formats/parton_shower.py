"""Showers of massless partons, as they leave the shower: HDF5 files with one list of partons per jet.

Key ``partons`` ``(N, points, 3)`` with two angles from the jet's axis [rad] and the share of the jet's
momentum, all 0 behind the last parton. Momenta of a jet sum to 1, and their mean direction is its axis.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import torch

from simulacra.core import Batch, Field, Spec, UserError
from simulacra.core.ranges import Count
from simulacra.formats.base import FileInfo
from simulacra.formats.hdf5 import Array, Hdf5Format, check_not_negative, tensor


def parton_shower(name: str, points: Count) -> Spec:
    """Spec of jets of up to so many partons."""
    return Spec(
        name=name,
        kind="cloud",
        shape=(points, 3),
        unit="",
        features=(
            Field("etarel", "rad"),
            Field("phirel", "rad"),
            Field("ptrel", low=0.0, role="share"),
        ),
    )


class PartonShowerFile(Hdf5Format):
    """Reader and writer, see the module's docstring."""

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        return {"partons": self.spec.shape}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        return {}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        x = tensor(arrays["partons"])
        check_not_negative(path, "partons", arrays["partons"][..., 2], 0, "")
        mask = x[..., 2] > 0
        return Batch(x * mask[..., None], mask=mask)

    def encode(self, batch: Batch) -> dict[str, Array]:
        if batch.mask is None or bool((batch.x[..., 2][batch.mask] <= 0).any()):
            raise UserError(
                "partons are written as clouds with a mask, each with a share of the momentum above 0"
            )
        return {"partons": batch.x.float().cpu().numpy()}

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        generator = torch.Generator().manual_seed(seed)
        size = self.spec.shape[0]
        count = torch.randint(1, min(size, 8) + 1, (n, 1), generator=generator)
        mask = torch.arange(size) < count
        share = (torch.rand(n, size, generator=generator) + 0.05) * mask
        share = share / share.sum(1, keepdim=True)
        place = 0.1 * torch.randn(n, size, 2, generator=generator)
        place = place - (share[..., None] * place).sum(1, keepdim=True)
        x = torch.cat([place, share[..., None]], -1) * mask[..., None]
        self.write(path, Batch(x, mask=mask), {"generator": "toy"})
        return self.header(path)
