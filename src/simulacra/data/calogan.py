"""Files of the CaloGAN data set: one per particle, with no test part."""

from __future__ import annotations

from collections.abc import Sequence

from simulacra.data.files import Published


def published(particles: Sequence[str], where: str) -> Published:
    """The public files of some particles; all of them are needed."""
    return Published([f"{particle}.hdf5" for particle in particles], [], where, complete=True)
