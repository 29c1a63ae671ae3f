"""Particles that are shot at a detector, event by event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulacra.core.detector import Gun

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Primaries:
    """Particles of ``events`` events, sorted by event.

    Args:
        events: Number of events.
        event: Event of each particle ``(n,)``.
        particle: Geant4's name of each particle ``(n,)``.
        energy: Kinetic energies ``(n,)`` [MeV].
        position: Where particles start ``(n, 3)`` [mm] from the middle of the front, depth last.
        direction: Unit vectors ``(n, 3)``.
    """

    events: int
    event: NDArray[np.int64]
    particle: NDArray[np.str_]
    energy: Array
    position: Array
    direction: Array

    def __len__(self) -> int:
        return len(self.energy)

    def of(self, first: int, last: int) -> Primaries:
        """Those of the events from ``first`` to before ``last``, counted from 0."""
        own = (self.event >= first) & (self.event < last)
        return Primaries(
            last - first,
            self.event[own] - first,
            self.particle[own],
            self.energy[own],
            self.position[own],
            self.direction[own],
        )

    @property
    def entry(self) -> Array:
        """Where their lines meet the front of the first plate ``(n, 2)`` [mm]."""
        slope = self.direction[:, :2] / self.direction[:, 2:]
        return self.position[:, :2] - slope * self.position[:, 2:]

    @property
    def theta(self) -> Array:
        """Angle from the normal of the plates ``(n,)`` [deg]."""
        return np.degrees(np.arccos(np.clip(self.direction[:, 2], -1, 1)))

    @property
    def phi(self) -> Array:
        """Azimuth ``(n,)`` [deg], from 0 to 360."""
        return np.degrees(np.arctan2(self.direction[:, 1], self.direction[:, 0])) % 360


def shot(gun: Gun, events: int, rng: np.random.Generator, most: int = 1) -> Primaries:
    """What a gun shoots: one particle per event, or from 1 to ``most`` with equal frequencies.

    Args:
        gun: Ranges of energies, angles and points of entry.
        events: Number of events.
        rng: Source of randomness.
        most: Most particles of an event.
    """
    counts = rng.integers(1, most, size=events, endpoint=True)
    n = int(counts.sum())
    low, high = (1e3 * energy for energy in gun.energy)
    share = rng.random(n)
    energy = (
        low * (high / low) ** share if gun.spectrum == "loguniform" else low + (high - low) * share
    )
    theta, phi = (np.radians(rng.uniform(*bounds, n)) for bounds in (gun.theta, gun.phi))
    entry = np.stack([rng.uniform(*bounds, n) for bounds in (gun.x, gun.y)], axis=1)
    direction = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1
    )
    start = np.full((n, 1), -gun.distance)
    back = entry + direction[:, :2] / direction[:, 2:] * start
    return Primaries(
        events,
        np.repeat(np.arange(events), counts),
        np.full(n, gun.particle),
        energy,
        np.concatenate([back, start], axis=1),
        direction,
    )
