"""Particles that are shot at a detector, event by event."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulacra.core import UserError
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
        own = np.flatnonzero((self.event >= first) & (self.event < last))
        found = self.rows(own)
        return replace(found, events=last - first, event=found.event - first)

    def rows(self, index: NDArray[np.int64]) -> Primaries:
        """Some of the particles, by position."""
        return Primaries(
            self.events,
            self.event[index],
            self.particle[index],
            self.energy[index],
            self.position[index],
            self.direction[index],
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
    def polar(self) -> Array:
        """Angle from the first transverse axis ``(n,)`` [deg]."""
        return np.degrees(np.arccos(np.clip(self.direction[:, 0], -1, 1)))

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
    theta, phi = (rng.uniform(*bounds, n) for bounds in (gun.theta, gun.phi))
    entry = np.stack([rng.uniform(*bounds, n) for bounds in (gun.x, gun.y)], axis=1)
    event = np.repeat(np.arange(events), counts)
    particle = np.full(n, gun.particle)
    return aimed(events, event, particle, energy, entry, np.stack([theta, phi]), gun.distance)


def aimed(
    events: int,
    event: NDArray[np.int64],
    particle: NDArray[np.str_],
    energy: Array,
    entry: Array,
    angles: Array,
    distance: float,
) -> Primaries:
    """Particles that aim at points of the front.

    Args:
        events: Number of events.
        event: Event of each particle ``(n,)``, rising.
        particle: Geant4's names ``(n,)``.
        energy: Kinetic energies ``(n,)`` [MeV].
        entry: Where they meet the front ``(n, 2)`` [mm].
        angles: Angle from the normal, and azimuth ``(2, n)`` [deg].
        distance: Of their start from the front [mm].
    """
    theta, phi = np.radians(angles)
    direction = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1
    )
    start = np.full((len(energy), 1), -distance)
    back = entry + direction[:, :2] / direction[:, 2:] * start
    position = np.concatenate([back, start], axis=1)
    return Primaries(events, event, particle, energy, position, direction)


COLUMNS = ("event", "particle", "energy", "x", "y", "theta", "phi")
"""Columns of a table of particles; energies in GeV, places in mm, angles in degrees."""


def of_table(path: Path, distance: float) -> Primaries:
    """Particles of a CSV file with the columns :data:`COLUMNS`; those from ``x`` on may be missing.

    Args:
        path: The file.
        distance: Of the particles' start from the front [mm].

    Raises:
        UserError: If a column is missing, or a value is none that can be.
    """
    if not path.is_file():
        raise UserError(f"there is no file of particles {path}")
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UserError(f"{path} holds no particles: its columns are {', '.join(COLUMNS)}")
    missing = [name for name in COLUMNS[:3] if name not in rows[0]]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}: it needs {', '.join(COLUMNS[:3])}")
    values = np.array(
        [
            [_number(path, k, row, name) for name in COLUMNS if name != "particle"]
            for k, row in enumerate(rows)
        ]
    )
    event, energy, x, y, theta, phi = values.T
    order = np.argsort(event, kind="stable")
    if (energy <= 0).any() or (event < 0).any() or (theta < 0).any() or (theta >= 90).any():
        raise UserError(f"{path} holds energies or events below 0, or angles beyond 90 degrees")
    particle = np.array([str(row["particle"]).strip() for row in rows])
    entry, angles = np.stack([x, y], axis=1), np.stack([theta, phi])
    return aimed(
        int(event.max()) + 1,
        event[order].astype(np.int64),
        particle[order],
        1e3 * energy[order],
        entry[order],
        angles[:, order],
        distance,
    )


def _number(path: Path, number: int, row: Mapping[str, str | None], name: str) -> float:
    text = row.get(name, "0") or "0"
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value) or (name == "event" and value != int(value)):
        raise UserError(f"{path}: row {number + 1} has {name}={text!r}, which is no number")
    return value
