r"""Jets of JetNet's kind: anti-kT jets of about 1 TeV as lists of their hardest particles, no detector.

Proton collisions at 13 TeV with Pythia's Monash tune, leading-order matrix elements, showers, multiparton
interactions and hadrons. Of each event the two leading jets are taken if they are within the windows, and
match, within :math:`\Delta R = \sqrt{\Delta\eta^2 + \Delta\phi^2}`, an outgoing parton of their class: g a
gluon, q a light quark, t, w and z the heavy particle, whose decay is hadronic.

Note:
    The public JetNet files are of MadGraph with Pythia 8.2, and look like jets of R = 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator

from simulacra.core import Batch
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Positive
from simulacra.deploy.pythia.clustering import Jets, anti_kt, places
from simulacra.deploy.pythia.collisions import Collisions
from simulacra.deploy.pythia.particles import (
    Particles,
    azimuth,
    mass,
    pseudorapidity,
    transverse,
    wrapped,
)
from simulacra.deploy.pythia.simulator import Process, Sample, ordered, within
from simulacra.formats.jetnet import CLASSES, JetNetFormat, jetnet


class _Kind(NamedTuple):
    """Settings of a class, and what its jets match."""

    settings: tuple[str, ...]
    pdg: tuple[int, ...]


_HADRONIC = "onIfAny = 1 2 3 4 5"
KINDS = {
    "g": _Kind(("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"), (21,)),
    "q": _Kind(
        (
            "HardQCD:qq2qq = on",
            "HardQCD:gg2qqbar = on",
            "HardQCD:qqbar2qqbarNew = on",
            "HardQCD:nQuarkNew = 3",
        ),
        (1, 2, 3),
    ),
    "t": _Kind(
        ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off", f"24:{_HADRONIC}"), (6,)
    ),
    "w": _Kind(
        ("WeakDoubleBoson:ffbar2WW = on", "24:onMode = off", f"24:{_HADRONIC}"),
        (24,),
    ),
    "z": _Kind(
        (
            "WeakDoubleBoson:ffbar2gmZgmZ = on",
            "WeakZ0:gmZmode = 2",
            "23:onMode = off",
            f"23:{_HADRONIC}",
        ),
        (23,),
    ),
}
"""Processes by class of jet."""


@constructor
class JetNetProcess(Process):
    """See the module's docstring.

    Args:
        particles: Particles that are kept of a jet, 30 or 150 in the public files.
        classes: Which of g, q, t, w, z, equally often.
        radius: Radius parameter of the jets: 0.8, or 0.4 for the look of the public files.
        pthat: Transverse momentum of the hard process [GeV].
        pt: Transverse momentum of the jets [GeV].
        eta: Largest pseudorapidity of the jets.
        match: Largest distance from the outgoing parton.
        settings: Further lines for Pythia, read last.
    """

    per_event = 1.8

    def __init__(
        self,
        particles: Count,
        classes: Sequence[str],
        radius: Positive,
        pthat: Sequence[float],
        pt: Sequence[float],
        eta: Positive,
        match: Positive,
        settings: Sequence[str] = (),
    ) -> None:
        spec = jetnet(particles, sorted(classes, key="".join(CLASSES).find))
        self.classes = tuple(name for name in CLASSES if name in classes)
        self.format = JetNetFormat(spec, self.classes)
        self.radius, self.eta, self.match = radius, eta, match
        self.pt, window = ordered("process.pt", pt), ordered("process.pthat", pthat)
        common = (
            "Beams:eCM = 13000.",
            "Tune:pp = 14",
            f"PhaseSpace:pTHatMin = {window[0]}",
            f"PhaseSpace:pTHatMax = {window[1]}",
        )
        self.samples = tuple(
            Sample(name, 1 / len(self.classes), (*common, *KINDS[name].settings, *settings))
            for name in self.classes
        )

    @property
    def parameters(self) -> Mapping[str, str | int | float]:
        """The selection."""
        return {
            "selection": (
                f"the two leading anti-kT jets of R = {self.radius:g} with {self.pt[0]:g} < pT < "
                f"{self.pt[1]:g} GeV and |eta| < {self.eta:g}, within {self.match:g} of an outgoing parton"
            )
        }

    def rows(self, sample: int, events: Collisions, generator: Generator) -> Batch:
        """The chosen jets; nothing is drawn."""
        jets = anti_kt(events.particles, self.radius, self.pt[0])
        chosen = jets[
            (jets.rank < 2)
            & within(transverse(jets.momenta), self.pt)
            & (np.abs(pseudorapidity(jets.momenta)) < self.eta)
        ]
        partons = events.record[
            events.outgoing & np.isin(np.abs(events.record.pdg), KINDS[self.classes[sample]].pdg)
        ]
        batch = clouds(events.particles, chosen[self._matched(chosen, partons)], self._size)
        if len(self.classes) == 1:
            return batch
        label = torch.full((len(batch), 1), sample)
        return Batch(batch.x, {"jet_class": label}, batch.event, batch.mask)

    @property
    def _size(self) -> int:
        return self.format.spec.shape[0]

    def _matched(self, jets: Jets, partons: Particles) -> np.ndarray:
        """Which jets have a parton of their event near them ``(J,)``."""
        here = jets.event[:, None] == partons.event  # (J, partons of all events)
        away = np.hypot(
            pseudorapidity(jets.momenta)[:, None] - pseudorapidity(partons.momenta),
            wrapped(azimuth(jets.momenta)[:, None] - azimuth(partons.momenta)),
        )
        return np.asarray((here & (away < self.match)).any(1))


def clouds(particles: Particles, jets: Jets, size: int) -> Batch:
    """Jets as JetNet's clouds of their ``size`` hardest particles: relative to the axis of the whole jet."""
    count, momenta = len(jets), particles.momenta[jets.members]
    jet, place = np.repeat(np.arange(count), jets.sizes), places(jets.sizes)
    whole = jets.momenta
    columns = (
        pseudorapidity(momenta) - pseudorapidity(whole)[jet],
        wrapped(azimuth(momenta) - azimuth(whole)[jet]),
        transverse(momenta) / transverse(whole)[jet],
    )
    kept = place < size
    x = np.zeros((count, size, 3), np.float32)
    x[jet[kept], place[kept]] = np.stack(columns, -1)[kept]
    mask = np.arange(size) < np.minimum(jets.sizes, size)[:, None]
    event = {
        "pt": transverse(whole),
        "eta": pseudorapidity(whole),
        "mass": mass(whole),
        "num_particles": mask.sum(1),
    }
    return Batch(
        torch.from_numpy(x),
        {},
        {name: torch.from_numpy(value).float()[:, None] for name, value in event.items()},
        torch.from_numpy(mask),
    )
