"""Particles that enter a calorimeter, noticed at its front and taken out of the simulation.

Geant4's own hook for fast simulation cannot be subclassed from Python. A sensitive detector on a thin sheet
of vacuum before the first plate does the same, and costs nothing elsewhere: Geant4 calls it for steps in
the sheet alone. Photons that hadrons make inside the calorimeter are not caught.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulacra.deploy.geant4.runtime import Geant4
from simulacra.deploy.geant4.simulation import Simulation
from simulacra.deploy.primaries import Primaries


@dataclass(frozen=True)
class Taken:
    """Which particles are taken.

    Args:
        particles: Geant4's names.
        low: Smallest kinetic energy [MeV].
        high: Largest kinetic energy [MeV].
    """

    particles: Collection[str]
    low: float
    high: float


@dataclass
class Entrance:
    """Takes particles and keeps them in a queue.

    Args:
        taken: Which ones; all others go on as if there were no sheet.
    """

    taken: Taken
    number: int = 0
    """Of particles that were taken so far."""
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, g4: Geant4, simulation: Simulation) -> Any:
        """The sensitive detector of the sheet."""
        outer, taken = self, self.taken

        class Watcher(g4.G4VSensitiveDetector):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__("entrance")  # assigning its C++ filter would crash

            def ProcessHits(self, step: Any, history: Any) -> bool:  # noqa: N802 - Geant4's name
                before = step.GetPreStepPoint()
                energy, direction = before.GetKineticEnergy(), before.GetMomentumDirection()
                if not taken.low <= energy <= taken.high or direction.z <= 0:
                    return False
                track = step.GetTrack()
                name = track.GetParticleDefinition().GetParticleName()
                if name not in taken.particles:
                    return False
                at = before.GetPosition()
                outer._rows.append(
                    (
                        *(simulation.event, name, energy),
                        *(at.x, at.y, at.z, direction.x, direction.y, direction.z),
                    )
                )
                outer.number += 1
                track.SetTrackStatus(g4.fStopAndKill)
                return True

        return Watcher()

    def empty(self, events: int) -> Primaries:
        """What is in the queue, of a run of ``events`` events; nothing is left in it."""
        rows, self._rows = self._rows, []
        values = np.array([row[2:] for row in rows], dtype=float).reshape(-1, 7)
        return Primaries(
            events,
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=str),
            values[:, 0],
            values[:, 1:4],
            values[:, 4:7],
        )

    def __len__(self) -> int:
        return len(self._rows)
