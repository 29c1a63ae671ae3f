"""Files of the CaloGAN data set: one per particle, with no test part."""

from __future__ import annotations

from collections.abc import Sequence

from simulacra.core.constructors import constructor
from simulacra.data.files import Published


@constructor
def published(
    particles: Sequence[str], embedded: str | None, record: str | None = None, where: str = ""
) -> Published:
    """The public files of some particles; all of them are needed, also of the embedded sample."""
    names = [f"{particle}.hdf5" for particle in particles]
    return Published(names, [], where, complete=True, embedded=embedded, record=record)
