r"""Top pairs at leading order, as the four-momenta of their quarks (:mod:`simulacra.formats.six_quarks`).

:math:`pp \to t \bar t` at 13 TeV, both W decay to quarks; t and W have the widths of their resonances, and
quarks have Pythia's masses. There are no showers, so that the transverse momenta of an event add up to zero,
and no detector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.deploy.pythia.collisions import Collisions
from simulacra.deploy.pythia.particles import Particles
from simulacra.deploy.pythia.simulator import Process, Sample
from simulacra.formats.six_quarks import SixQuarks

_TOP, _W = 6, 24


@constructor
class TtbarProcess(Process):
    """See the module's docstring.

    Args:
        settings: Further lines for Pythia, read last, e.g. ``PhaseSpace:pTHatMin = 200.``.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self.format = SixQuarks()
        lines = (
            "Beams:eCM = 13000.",
            "Top:gg2ttbar = on",
            "Top:qqbar2ttbar = on",
            "24:onMode = off",
            "24:onIfAny = 1 2 3 4 5",
            *(f"PartonLevel:{part} = off" for part in ("MPI", "ISR", "FSR", "Remnants")),
            "HadronLevel:all = off",
            "Check:event = off",  # without beam remnants, momenta do not add up to those of the beams
        )
        self.samples = (Sample("ttbar", 1.0, (*lines, *settings)),)

    def rows(self, sample: int, events: Collisions, generator: Generator) -> Batch:
        """All events; nothing is drawn."""
        record = events.record
        first = np.repeat(np.cumsum(record.counts) - record.counts, record.counts)
        parent = record.pdg[first + events.mothers[:, 0]]
        found = [_momenta(record, chosen) for chosen in _slots(record.pdg, parent)]
        return Batch(torch.from_numpy(np.concatenate(found, 1)).float())


def _slots(pdg: np.ndarray, parent: np.ndarray) -> list[np.ndarray]:
    """Which entries ``(E,)`` are each of the six quarks, by their own and their mother's kind."""
    quark, up = np.abs(pdg) < _TOP, pdg % 2 == 0
    return [
        quark & (parent == sign * mother) & (up == upper)
        for sign in (1, -1)
        for mother, upper in ((_TOP, False), (_W, True), (_W, False))
    ]


def _momenta(record: Particles, chosen: np.ndarray) -> np.ndarray:
    """E, px, py, pz ``(n, 4)`` of the one chosen entry of each event.

    Raises:
        UserError: If there is not one in each.
    """
    if not np.array_equal(record.event[chosen], np.arange(len(record.counts))):
        raise UserError(
            "process.settings let top pairs decay to something else than six quarks: leave decays as they are"
        )
    return record.momenta[chosen][:, [3, 0, 1, 2]]
