"""A simulator without a simulation, for tests of production."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from simulacra.core import Batch, UserError
from simulacra.deploy.production import Simulator
from simulacra.formats.base import Format


class Counting(Simulator):
    """Toys, and a note of each chunk that was made.

    Args:
        format: As of the base class.
        notes: Folder of the notes.
        dies: Chunk at which the process ends, as Geant4 does.
        refuses: What it says instead of opening.
        slow: Seconds per chunk.
    """

    def __init__(
        self,
        format: Format,
        notes: Path,
        dies: int | None = None,
        refuses: str = "",
        slow: float = 0.0,
    ) -> None:
        super().__init__(format)
        self.notes, self.dies, self.refuses, self.slow = notes, dies, refuses, slow

    @property
    def provenance(self) -> Mapping[str, str]:
        return {"simulator": "counting"}

    def open(self) -> None:
        if self.refuses:
            raise UserError(self.refuses)

    def run(self, chunk: int, n: int, seed: int) -> Batch:
        if chunk == self.dies:
            os.write(2, b"*** G4Exception: no tables ***\n")
            os.abort()
        time.sleep(self.slow)
        path = self.notes / f"{chunk}_{os.getpid()}_{time.monotonic_ns()}"
        self.format.toy(path.with_suffix(".hdf5"), n, seed)
        return self.format.read(path.with_suffix(".hdf5"))


def made(notes: Path) -> list[int]:
    """Chunks that were made, in order."""
    return sorted(int(path.name.split("_")[0]) for path in notes.glob("*.hdf5"))


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.x, b.x) and all(torch.equal(a.cond[k], b.cond[k]) for k in a.cond)
