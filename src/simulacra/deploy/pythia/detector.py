r"""A toy detector: tracks, an electromagnetic and a hadronic calorimeter, and objects made of both.

There is no magnetic field. A charged particle within the tracker is found with an efficiency, and its
transverse momentum and direction are smeared; what is found leaves nothing in the calorimeters (an ideal
particle flow). Photons and electrons that were not found give their energy to the electromagnetic
calorimeter, all others to the hadronic one. The energies in a cell are added, smeared with

.. math:: \sigma(E) = c E \oplus s \sqrt E \oplus n,

and make one massless object, at a place that is uniform within the cell, if the energy passes a threshold
and a number of sigmas. The numbers are near those of the CMS card of Delphes (arXiv:1307.6346); the
code is our own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from simulacra.deploy.pythia.particles import (
    Floats,
    Integers,
    Particles,
    azimuth,
    momentum,
    pseudorapidity,
    transverse,
)

ELECTRON, MUON, PHOTON, NEUTRAL_HADRON = 11, 13, 22, 130
CHARGED = (ELECTRON, MUON, 211, 321, 2212, 3112, 3222, 3312, 3334)
"""Charged particles that events end in: electrons, muons, pions, kaons, protons, and hyperons where Pythia is
told to keep them."""
MASSES = {ELECTRON: 0.000511, MUON: 0.10566}
PION_MASS = 0.13957
"""Mass of a track of a hadron [GeV]."""
FORWARD = 3.0
"""Pseudorapidity from which the forward calorimeter measures."""


@dataclass(frozen=True)
class Tracker:
    r"""Tracks of charged particles within :math:`|\eta| < 2.5`.

    The efficiency is 0 below ``least``, then that of the region for soft (below 1 GeV) and hard particles;
    the momentum resolution is :math:`\sigma(p_T) / p_T = a \oplus b\, p_T` by region.

    Args:
        least: Smallest transverse momentum [GeV].
        efficiency: Soft and hard, for the barrel (up to 1.5) and outside of it.
        muons: Efficiency for soft and hard muons.
        relative: ``a`` up to a pseudorapidity of 0.5, 1.5 and 2.5.
        rising: ``b`` in the same regions [1/GeV].
        angle: Resolution of pseudorapidity and azimuth [rad].
        radius: How far from the beams a particle may be produced [mm].
        length: How far along them [mm].
    """

    least: float = 0.5
    efficiency: tuple[tuple[float, float], tuple[float, float]] = ((0.85, 0.95), (0.75, 0.85))
    muons: tuple[float, float] = (0.6, 0.98)
    relative: tuple[float, float, float] = (0.01, 0.015, 0.025)
    rising: tuple[float, float, float] = (1e-4, 1.5e-4, 3.5e-4)
    angle: float = 1e-3
    radius: float = 500.0
    length: float = 1000.0

    def found(self, particles: Particles, generator: Generator) -> np.ndarray:
        """Which of the particles ``(P,)`` are found as tracks."""
        pt, eta = transverse(particles.momenta), np.abs(pseudorapidity(particles.momenta))
        hard = (pt > 1.0).astype(int)
        chance = np.where(
            np.abs(particles.pdg) == MUON,
            np.array(self.muons)[hard],
            np.array(self.efficiency)[(eta > 1.5).astype(int), hard],
        )
        x, y, z = particles.origin.T
        possible = np.isin(np.abs(particles.pdg), CHARGED) & (pt > self.least) & (eta < 2.5)
        possible &= (np.hypot(x, y) < self.radius) & (np.abs(z) < self.length)
        return possible & (generator.random(len(particles)) < chance)

    def measured(self, tracks: Particles, generator: Generator) -> Floats:
        """Smeared momenta ``(P, 4)`` of found particles; hadrons get the mass of a pion."""
        pt, eta = transverse(tracks.momenta), pseudorapidity(tracks.momenta)
        region = np.searchsorted([0.5, 1.5], np.abs(eta))
        sigma = np.hypot(np.array(self.relative)[region], np.array(self.rising)[region] * pt)
        noise = generator.standard_normal((3, len(tracks)))
        factor = np.maximum(1 + sigma * noise[0], 0.1)  # a track keeps a direction
        kind = np.abs(tracks.pdg)
        rest = np.select([kind == key for key in MASSES], list(MASSES.values()), PION_MASS)
        return momentum(
            pt * factor,
            eta + self.angle * noise[1],
            azimuth(tracks.momenta) + self.angle * noise[2],
            rest,
        )


@dataclass(frozen=True)
class Calorimeter:
    r"""Cells in pseudorapidity and azimuth up to :math:`|\eta| = 4.9`.

    Args:
        width: Size of a cell in both [rad]; in azimuth it is rounded so that whole cells make the circle.
        outer: The same beyond 2.5.
        constant: ``c`` of the resolution.
        stochastic: ``s`` [sqrt(GeV)].
        noise: ``n`` [GeV].
        forward: ``s`` from :data:`FORWARD` on [sqrt(GeV)], where ``n`` is 0.
        forward_constant: ``c`` there.
        least: Smallest energy of a cell [GeV].
        significance: Smallest energy in units of its resolution.
    """

    width: float
    outer: float
    constant: float
    stochastic: float
    noise: float
    forward: float
    least: float
    significance: float
    forward_constant: float = 0.107

    def resolution(self, energy: Floats, eta: Floats) -> Floats:
        """Standard deviation ``(C,)`` of energies [GeV] at pseudorapidities."""
        energy = np.maximum(energy, 0.0)
        far = np.abs(eta) > FORWARD
        square = (np.where(far, self.forward_constant, self.constant) * energy) ** 2
        square += np.where(far, self.forward, self.stochastic) ** 2 * energy
        return np.sqrt(square + np.where(far, 0.0, self.noise) ** 2)

    def measured(self, deposits: Particles, generator: Generator) -> tuple[Floats, Integers]:
        """Momenta ``(C, 4)`` of the cells that are seen, and the event of each ``(C,)``."""
        eta, phi = pseudorapidity(deposits.momenta), azimuth(deposits.momenta)
        inside = np.abs(eta) < 4.9
        eta, phi = eta[inside], phi[inside]
        outer = np.abs(eta) > 2.5
        steps = np.where(outer, self.outer, self.width)  # in eta
        around = np.rint(2 * np.pi / steps)  # cells in azimuth
        row = np.floor(eta / steps).astype(np.int64)
        column = np.floor((phi + np.pi) / (2 * np.pi) * around).astype(np.int64)
        place = (
            deposits.event[inside],
            outer.astype(np.int64),
            row - row.min(initial=0),
            column % around.astype(np.int64),
        )
        shape = [int(axis.max(initial=0)) + 1 for axis in place]
        cells, member = np.unique(np.ravel_multi_index(place, shape), return_inverse=True)
        true = np.bincount(member, deposits.momenta[inside, 3], len(cells)).astype(np.float64)
        event, far, up, column = np.unravel_index(cells, shape)
        row = up + row.min(initial=0)
        step = np.where(far, self.outer, self.width)
        at = generator.random((2, len(cells)))
        eta = (row + at[0]) * step
        phi = (column + at[1]) * 2 * np.pi / np.rint(2 * np.pi / step) - np.pi
        middle = (row + 0.5) * step
        energy = true + self.resolution(true, middle) * generator.standard_normal(len(cells))
        seen = (energy > self.least) & (
            energy > self.significance * self.resolution(energy, middle)
        )
        eta, phi, energy = eta[seen], phi[seen], energy[seen]
        return momentum(energy / np.cosh(eta), eta, phi, np.zeros_like(energy)), event[seen]


def electromagnetic() -> Calorimeter:
    """Cells of one degree, 11 % / sqrt(E)."""
    return Calorimeter(0.0175, 0.0175, 0.008, 0.11, 0.2, forward=2.08, least=0.5, significance=2.0)


def hadronic() -> Calorimeter:
    """Cells of five degrees, 100 % / sqrt(E)."""
    return Calorimeter(0.0875, 0.175, 0.05, 1.0, 0.0, forward=2.8, least=1.0, significance=1.0)


@dataclass(frozen=True)
class Detector:
    """See the module's docstring.

    Args:
        tracker: Finds charged particles.
        photons: Calorimeter of photons and electrons.
        hadrons: Calorimeter of all others.
    """

    tracker: Tracker = field(default_factory=Tracker)
    photons: Calorimeter = field(default_factory=electromagnetic)
    hadrons: Calorimeter = field(default_factory=hadronic)

    def objects(self, particles: Particles, generator: Generator) -> Particles:
        """What is seen of visible particles: tracks with their true kind, photons and neutral hadrons.

        They are in the order of the events, in each of them tracks first; where they were produced is not
        known.
        """
        found = self.tracker.found(particles, generator)
        electric = np.isin(np.abs(particles.pdg), (ELECTRON, PHOTON))
        tracks, light, heavy = (
            particles[chosen] for chosen in (found, ~found & electric, ~found & ~electric)
        )
        seen = [(self.tracker.measured(tracks, generator), tracks.event, tracks.pdg)]
        for calorimeter, deposits, kind in (
            (self.photons, light, PHOTON),
            (self.hadrons, heavy, NEUTRAL_HADRON),
        ):
            momenta, event = calorimeter.measured(deposits, generator)
            seen.append((momenta, event, np.full(len(event), kind)))
        momenta, event, pdg = (np.concatenate(part) for part in zip(*seen, strict=True))
        order = np.argsort(event, kind="stable")
        counts = np.bincount(event, minlength=len(particles.counts))
        return Particles(momenta[order], counts, pdg[order], np.zeros((len(order), 3)))
