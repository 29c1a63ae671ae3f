r"""Particles of several events in flat arrays, and the kinematics of hadron colliders.

With the beams along z, :math:`p_T = \sqrt{p_x^2 + p_y^2}`, :math:`\phi = \mathrm{atan2}(p_y, p_x)` and
:math:`\eta = \mathrm{arsinh}(p_z / p_T)`. Momenta are ``(px, py, pz, E)`` in GeV, float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Particles:
    """Particles of ``n`` events, one event after the other.

    Args:
        momenta: ``(P, 4)`` with px, py, pz, E [GeV].
        counts: Particles of each event ``(n,)``, which sum to ``P``.
        pdg: Kind of each particle in the numbering of the Particle Data Group ``(P,)``.
        origin: Where each was produced ``(P, 3)`` with x, y, z [mm].
    """

    momenta: Floats
    counts: Integers
    pdg: Integers
    origin: Floats

    def __len__(self) -> int:
        return len(self.momenta)

    @property
    def event(self) -> Integers:
        """Number of the event of each particle ``(P,)``."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Particles:
        """The chosen ones ``(P,)``; events without any stay."""
        counts = np.bincount(self.event[chosen], minlength=len(self.counts))
        return Particles(self.momenta[chosen], counts, self.pdg[chosen], self.origin[chosen])


def transverse(momenta: Floats) -> Floats:
    """Transverse momentum ``(...,)`` of ``(..., 4)`` [GeV]."""
    return np.hypot(momenta[..., 0], momenta[..., 1])


def azimuth(momenta: Floats) -> Floats:
    """Angle around the beams ``(...,)`` of ``(..., 4)``, from -pi to pi [rad]."""
    return np.arctan2(momenta[..., 1], momenta[..., 0])


def pseudorapidity(momenta: Floats) -> Floats:
    """Pseudorapidity ``(...,)`` of ``(..., 4)``; infinite along the beams."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arcsinh(momenta[..., 2] / transverse(momenta))


def mass(momenta: Floats) -> Floats:
    """Invariant mass ``(...,)`` of ``(..., 4)`` [GeV], 0 where rounding makes its square negative."""
    square = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(-1)
    return np.sqrt(np.maximum(square, 0.0))


def wrapped(angle: Floats) -> Floats:
    """Differences of azimuths in [-pi, pi) [rad]."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def momentum(pt: Floats, eta: Floats, phi: Floats, mass: Floats) -> Floats:
    """``(P, 4)`` from transverse momentum [GeV], pseudorapidity, azimuth [rad], mass [GeV], ``(P,)`` each."""
    pz = pt * np.sinh(eta)
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pz, energy], -1)
