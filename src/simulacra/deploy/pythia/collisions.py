"""Collisions of Pythia 8 in batches of events, silent and repeatable.

Every run of a seed makes its own Pythia object: what one has learnt of the process (the maxima of cross
sections, the tables of multiparton interactions) would otherwise reach the events of the next seed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulacra.core import UserError
from simulacra.deploy.pythia.particles import Floats, Integers, Particles

SEEDS = 900_000_000
"""Seeds that Pythia knows: 1 to this."""
NEUTRINOS = (12, 14, 16)
QUIET = ("Print:quiet = on", "Random:setSeed = on")
Veto = Callable[[Floats], bool]
"""Whether an event is given up for its partons after the showers, ``(P, 4)`` [GeV]."""


@dataclass(frozen=True)
class Collisions:
    """Some events.

    Args:
        particles: All stable particles but neutrinos, at their production [GeV, mm].
        record: All entries of Pythia's event records, incoming and intermediate ones included.
        status: Status codes of these entries ``(E,)``.
        mothers: Places of both mothers in their own event ``(E, 2)``, 0 for none.
    """

    particles: Particles
    record: Particles
    status: Integers
    mothers: Integers

    def __len__(self) -> int:
        return len(self.record.counts)

    @property
    def outgoing(self) -> np.ndarray:
        """Which entries leave the hard process ``(E,)``: they come from its incoming partons, 3 and 4."""
        return np.asarray((self.mothers == (3, 4)).all(1))


def collide(
    settings: Sequence[str], seed: int, size: int, veto: Veto | None = None
) -> Iterator[Collisions]:
    """Events without end, the same for the same settings and seed.

    Args:
        settings: Lines that Pythia reads, in order.
        seed: From 1 to :data:`SEEDS`.
        size: Events in a batch; those that Pythia fails to make are left out.
        veto: Gives up events before they become hadrons.

    Raises:
        UserError: If Pythia does not take the settings.
    """
    import pythia8mc

    with silent():
        pythia = pythia8mc.Pythia("", False)
        for line in (*QUIET, f"Random:seed = {seed}", *settings):
            if not pythia.readString(line):
                raise UserError(f"Pythia does not know the setting {line!r}")
        hook = None if veto is None else _hook(pythia8mc, veto)
        if hook is not None:
            pythia.setUserHooksPtr(hook)
        if not pythia.init():
            raise UserError(f"Pythia cannot start with these settings: {'; '.join(settings)}")
    while True:
        with silent():
            made = pythia.nextBatch(size)
        yield _collisions(made)


def _collisions(made: Any) -> Collisions:
    import awkward

    counts = awkward.to_numpy(awkward.num(made.prt)).astype(np.int64)
    flat = awkward.flatten(made.prt)
    origin = [awkward.fill_none(flat.vProd[axis], 0.0) for axis in ("px", "py", "pz")]
    record = Particles(
        np.stack([awkward.to_numpy(flat.p[axis]) for axis in ("px", "py", "pz", "e")], -1),
        counts,
        awkward.to_numpy(flat.id).astype(np.int64),
        np.stack([awkward.to_numpy(axis) for axis in origin], -1),
    )
    status = awkward.to_numpy(flat.status).astype(np.int64)
    mothers = np.stack([awkward.to_numpy(flat[name]) for name in ("mother1", "mother2")], -1)
    stable = (status > 0) & ~np.isin(np.abs(record.pdg), NEUTRINOS)
    return Collisions(record[stable], record, status, mothers.astype(np.int64))


def _hook(pythia8mc: Any, veto: Veto) -> Any:
    """What Pythia asks after the showers; the class cannot be defined before Pythia is imported."""

    class Hook(pythia8mc.UserHooks):  # type: ignore[misc]
        def canVetoPartonLevel(self) -> bool:  # noqa: N802
            return True

        def doVetoPartonLevel(self, event: Any) -> bool:  # noqa: N802
            last = [(p.px(), p.py(), p.pz(), p.e()) for p in event if p.isFinal()]
            return veto(np.array(last).reshape(-1, 4))

    return Hook()


@contextmanager
def silent() -> Iterator[None]:
    """Send what libraries write to file descriptor 1, banners mostly, nowhere."""
    sys.stdout.flush()
    library = ctypes.CDLL(None)
    library.fflush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        library.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
