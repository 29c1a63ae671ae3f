r"""Dijets and a resonance of the LHC Olympics' kind: features of the two leading jets, or all objects too.

Background: QCD jets. Signal: :math:`W' \to X Y`, with :math:`X \to q \bar q'` and :math:`Y \to q \bar q`,
isotropic. Proton collisions at 13 TeV without multiparton interactions, seen by the toy detector
(:mod:`~simulacra.deploy.pythia.detector`), whose objects are clustered with anti-kT of R = 1. The leading jet
must be hard and central. Jets that could not become so are given up before they turn into hadrons.

Note:
    The public events are of Delphes and another version of Pythia. N-subjettiness is not normalised here:
    ratios are what is commonly used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.random import Generator

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import NotNegative, Positive, Share
from simulacra.deploy.pythia.clustering import Jets, anti_kt, hardest, places, subjettiness
from simulacra.deploy.pythia.collisions import Collisions
from simulacra.deploy.pythia.detector import Detector
from simulacra.deploy.pythia.particles import (
    Floats,
    Particles,
    azimuth,
    mass,
    pseudorapidity,
    transverse,
)
from simulacra.deploy.pythia.simulator import Process, Sample
from simulacra.formats.lhco import N_PARTICLES, LhcoEvents, LhcoFeatures

SOFTEST = 20.0
"""Smallest transverse momentum of the second jet [GeV]."""
_X, _Y = 9900500, 9900100


@constructor
class LhcoProcess(Process):
    """See the module's docstring.

    Args:
        particles: Whether the events hold all objects beside the features.
        fraction: Share of signal.
        masses: Of W', X and Y [GeV].
        radius: Radius parameter of the jets.
        pt: Smallest transverse momentum of the leading jet [GeV].
        eta: Its largest pseudorapidity.
        pthat: Smallest transverse momentum of the hard process of the background [GeV].
        veto: Events go on to hadrons if a jet of partons is above it [GeV]; it must be safely below ``pt``.
        settings: Further lines for Pythia, read last.
    """

    def __init__(
        self,
        particles: bool,
        fraction: Share,
        masses: Sequence[float],
        radius: Positive,
        pt: Positive,
        eta: Positive,
        pthat: Positive,
        veto: NotNegative,
        settings: Sequence[str] = (),
    ) -> None:
        if veto > pt:
            raise UserError(f"process.veto must not exceed process.pt = {pt:g} GeV, got {veto:g}")
        self.particles, self.radius, self.pt, self.eta = particles, radius, pt, eta
        self.veto, self.detector = veto, Detector()
        self.format = LhcoEvents() if particles else LhcoFeatures()
        common = ("Beams:eCM = 13000.", "Tune:pp = 14", "PartonLevel:MPI = off")
        dijets = ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {pthat}")
        self.samples = (
            Sample("background", 1 - fraction, (*common, *dijets, *settings), self._give_up),
            Sample("signal", fraction, (*common, *_resonance(masses), *settings), self._give_up),
        )

    @property
    def parameters(self) -> Mapping[str, str | int | float]:
        """The selection."""
        return {
            "selection": (
                f"the leading anti-kT jet of R = {self.radius:g} on the toy detector's objects has pT > "
                f"{self.pt:g} GeV and |eta| < {self.eta:g}, the second pT > {SOFTEST:g} GeV; "
                f"a jet of partons has pT > {self.veto:g} GeV"
            ),
            "signal_fraction": self.samples[1].share,
        }

    def rows(self, sample: int, events: Collisions, generator: Generator) -> Batch:
        """The chosen events."""
        objects = self.detector.objects(events.particles, generator)
        jets = anti_kt(objects, self.radius, SOFTEST)
        lead = jets.rank == 0
        hard = transverse(jets.momenta) > self.pt
        hard &= np.abs(pseudorapidity(jets.momenta)) < self.eta
        kept = jets.counts > 1
        kept[jets.event[lead & ~hard]] = False
        chosen = jets[(jets.rank < 2) & kept[jets.event]]
        features = torch.from_numpy(self._features(objects, chosen)).float()
        label = {"label": torch.full((len(features), 1), sample)}
        if not self.particles:
            return Batch(features, label)
        x, mask = clouds(objects, kept)
        names = [field.name for field in self.format.spec.event]
        event = {name: features[:, i : i + 1] for i, name in enumerate(names)}
        return Batch(torch.from_numpy(x), label, event, torch.from_numpy(mask))

    def _features(self, objects: Particles, pairs: Jets) -> Floats:
        """``(events, 14)`` of two jets per event."""
        each = [pairs.momenta[:, :3], mass(pairs.momenta)[:, None]]
        each.append(subjettiness(objects, pairs, (1, 2, 3)))
        return np.concatenate(each, 1).reshape(len(pairs) // 2, -1)

    def _give_up(self, partons: Floats) -> bool:
        """Whether no jet of partons is hard enough."""
        return hardest(partons, self.radius) < self.veto


def clouds(objects: Particles, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objects of the kept events ``(n, 700, 3)`` by falling transverse momentum, and their mask."""
    event = objects.event
    order = np.lexsort((-transverse(objects.momenta), event))
    chosen = order[kept[event[order]] & (places(objects.counts) < N_PARTICLES)]
    momenta = objects.momenta[chosen]
    row, counts = (np.cumsum(kept) - 1)[event[chosen]], objects.counts[kept]
    place = places(np.minimum(counts, N_PARTICLES))
    x = np.zeros((len(counts), N_PARTICLES, 3), np.float32)
    x[row, place] = np.stack([transverse(momenta), pseudorapidity(momenta), azimuth(momenta)], -1)
    return x, np.arange(N_PARTICLES) < counts[:, None]


def _resonance(masses: Sequence[float]) -> tuple[str, ...]:
    """Settings of the signal.

    Raises:
        UserError: If W' cannot decay to X and Y.
    """
    if len(masses) != 3 or min(masses) < 60 or masses[0] < masses[1] + masses[2] + 1200:
        raise UserError(
            "process.masses are those of W', X and Y, with X and Y of at least 60 GeV and W' at least "
            f"1,200 GeV above both together, got {list(masses)}"
        )
    heavy, first, second = masses
    lines = [
        f"{_X}:new = X Xbar 1 3 0 {first} 2.0 {first - 50} {first + 50} 0.",
        f"{_X}:isResonance = true",
        f"{_X}:mWidth = 2.0",
        f"{_X}:m0 = {first}",
        f"{_X}:addChannel = 1 0.5 103 2 -1",
        f"{_X}:addChannel = 1 0.5 103 4 -3",
        f"{_Y}:new = Y void 1 0 0 {second} 1.0 {second - 25} {second + 25} 0.",
        f"{_Y}:isResonance = true",
        f"{_Y}:mWidth = 1.0",
        f"{_Y}:m0 = {second}",
        *(f"{_Y}:addChannel = 1 0.25 103 {quark} -{quark}" for quark in (1, 2, 3, 4)),
        "NewGaugeBoson:ffbar2Wprime = on",
        f"34:m0 = {heavy}",
        "34:mWidth = 35.",
        "34:doForceWidth = on",
        f"34:mMin = {heavy - 1000}",
        f"34:mMax = {heavy + 1000}",
        f"34:oneChannel = 1 1. 103 {_X} {_Y}",
    ]
    return tuple(lines)
