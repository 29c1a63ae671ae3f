"""Geant4 with one detector, once per process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulacra.core import UserError
from simulacra.core.detector import Detector
from simulacra.deploy.geant4 import runtime, tables, world
from simulacra.deploy.geant4.scoring import SCORINGS, Array
from simulacra.deploy.primaries import Primaries

Watch = Callable[[Any, "Simulation"], Any]
"""Makes a sensitive detector for the sheet before the first plate, of Geant4 and the simulation."""


@dataclass(frozen=True)
class Physics:
    """What is simulated.

    Args:
        name: See :func:`~simulacra.deploy.geant4.runtime.physics`.
        cut: Production cut, a range [mm].
    """

    name: str = runtime.ELECTROMAGNETIC
    cut: float = 0.7


@dataclass
class Event:
    """What one event left.

    Args:
        first, second: See :class:`~simulacra.deploy.geant4.scoring.Scoring`.
        seconds: CPU time [s].
    """

    first: Array
    second: Array
    seconds: float


class Simulation:
    """See the module's docstring.

    Args:
        detector: What is built.
        physics: What is simulated.
        scoring: ``cells`` or ``steps``, see :data:`~simulacra.deploy.geant4.scoring.SCORINGS`.
        watch: For the sheet before the first plate, or None for no sheet.

    Raises:
        UserError: If Geant4 is not installed, or its tables lack what is needed.
    """

    def __init__(
        self, detector: Detector, physics: Physics, scoring: str, watch: Watch | None = None
    ) -> None:
        self.detector, self.physics = detector, physics
        self.tables = tables.find()
        self.g4 = runtime.load(self.tables)
        for name in {plate.material for plate in detector.plates} | {world.VACUUM}:
            world.material(self.g4, name)
        elements = self.g4.G4Element.GetElementTable()
        self.tables.check({element.GetZasInt() for element in elements})
        self.scoring = SCORINGS[scoring](self.g4, detector)
        self.volumes = world.Volumes(self.g4, detector, self.scoring.divided)
        self.event = 0
        """Number of the event that is simulated."""
        self._events: list[Event] = []
        self._primaries: Primaries | None = None
        self._watch = watch
        with runtime.silence():
            self.manager = self._start()

    @property
    def version(self) -> str:
        """Of Geant4."""
        return " ".join(str(self.g4.G4Version).split()).strip("$ ").removeprefix("Name: ")

    def run(self, primaries: Primaries, seed: int) -> list[Event]:
        """Simulate events; the same ones at the same seed, whatever ran before.

        Raises:
            UserError: If a particle is not known, or its physics is not there.
        """
        known = self.g4.G4ParticleTable.GetParticleTable()
        for name in map(str, np.unique(primaries.particle)):
            found = known.FindParticle(name)
            if found is None or not (self.tables.hadronic or name in ("gamma", "e-", "e+")):
                raise UserError(
                    f"{name!r} cannot be simulated: {self.physics.name} with the tables of "
                    f"{self.tables.folder} knows gamma, e- and e+"
                )
        self._events, self._primaries = [], primaries
        runtime.seed(self.g4, seed)
        with runtime.silence():
            self.manager.BeamOn(primaries.events)
        return self._events

    def _start(self) -> Any:
        kinds = self.g4.G4RunManagerType
        manager = self.g4.G4RunManagerFactory.CreateRunManager(kinds.SerialOnly)
        manager.SetUserInitialization(self._construction())
        physics = runtime.physics(self.g4, self.physics.name, self.physics.cut, self.tables)
        manager.SetUserInitialization(physics)
        manager.SetUserInitialization(self._actions())
        manager.Initialize()
        manager.BeamOn(0)  # makes the tables of cross sections
        return manager

    def _construction(self) -> Any:
        g4, outer = self.g4, self

        class Construction(g4.G4VUserDetectorConstruction):  # type: ignore[misc, name-defined]
            def Construct(self) -> Any:  # noqa: N802 - Geant4's name
                return outer.volumes.build(sheet=outer._watch is not None)

            def ConstructSDandField(self) -> None:  # noqa: N802
                outer.scoring.attach(outer.volumes, self)
                if outer._watch is not None:
                    watcher = outer._watch(g4, outer)
                    g4.G4SDManager.GetSDMpointer().AddNewDetector(watcher)
                    self.SetSensitiveDetector(outer.volumes.sheet, watcher)

        return Construction()

    def _actions(self) -> Any:
        g4, outer = self.g4, self

        class Gun(g4.G4VUserPrimaryGeneratorAction):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.gun = g4.G4ParticleGun(1)

            def GeneratePrimaries(self, event: Any) -> None:  # noqa: N802
                outer._shoot(self.gun, event)

        class Turn(g4.G4UserEventAction):  # type: ignore[misc, name-defined]
            def BeginOfEventAction(self, event: Any) -> None:  # noqa: N802
                outer.event, self.start = event.GetEventID(), time.process_time()

            def EndOfEventAction(self, event: Any) -> None:  # noqa: N802
                first, second = outer.scoring.read(event)
                outer._events.append(Event(first, second, time.process_time() - self.start))

        class Actions(g4.G4VUserActionInitialization):  # type: ignore[misc, name-defined]
            def Build(self) -> None:  # noqa: N802
                for action in (Gun(), Turn()):
                    self.SetUserAction(action)

        return Actions()

    def _shoot(self, gun: Any, event: Any) -> None:
        """The particles of one event; MeV and mm are 1 in Geant4's units."""
        primaries = self._primaries
        assert primaries is not None
        table = self.g4.G4ParticleTable.GetParticleTable()
        for row in np.flatnonzero(primaries.event == event.GetEventID()):
            gun.SetParticleDefinition(table.FindParticle(str(primaries.particle[row])))
            gun.SetParticleEnergy(float(primaries.energy[row]))
            gun.SetParticlePosition(self._vector(primaries.position[row]))
            gun.SetParticleMomentumDirection(self._vector(primaries.direction[row]))
            gun.GeneratePrimaryVertex(event)

    def _vector(self, values: NDArray[np.float64]) -> Any:
        return self.g4.G4ThreeVector(*map(float, values))
