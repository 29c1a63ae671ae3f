"""How energies come out of Geant4: cell by cell from its own scorers, or step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simulacra.core import Batch, Spec
from simulacra.core.detector import Detector
from simulacra.deploy.geant4.runtime import Geant4
from simulacra.deploy.geant4.world import Volumes, rasters
from simulacra.deploy.readout import STEP, Array, Readout


class Scoring(ABC):
    """Reads one detector out.

    Args:
        g4: Geant4.
        detector: The detector.
    """

    divided: ClassVar[bool]
    """Whether plates are divided into cells."""

    def __init__(self, g4: Geant4, detector: Detector) -> None:
        self.g4, self.detector = g4, detector
        layers = 1 + max(p.layer for p in detector.plates if p.layer is not None)
        self.scale = np.ones(layers)
        for plate in detector.plates:
            if plate.layer is not None:
                self.scale[plate.layer] = plate.scale

    @abstractmethod
    def attach(self, volumes: Volumes, construction: Any) -> None:
        """Make volumes sensitive; called by Geant4 while it builds."""

    @abstractmethod
    def read(self, event: Any) -> tuple[Array, Array]:
        """What an event left, forgotten afterwards; see the subclasses."""

    @staticmethod
    @abstractmethod
    def events(
        readout: Readout, spec: Spec, detector: Detector, found: Sequence[tuple[Array, Array]]
    ) -> Batch:
        """Events of a data set, without conditions, of what :meth:`read` found in each."""


class CellScoring(Scoring):
    """Scorers on cells, in C++: the cheapest way.

    Cell walls end steps, and multiple scattering takes shorter steps near walls, so that thin silicon sees
    about a per cent less energy than undivided.
    """

    divided = True

    def __init__(self, g4: Geant4, detector: Detector) -> None:
        super().__init__(g4, detector)
        sizes = detector.geometry.sizes
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._found: list[tuple[int, int, NDArray[np.int64]]] = []

    def attach(self, volumes: Volumes, construction: Any) -> None:
        """Sum energies by layer and cell inside the cells, by layer in what surrounds them."""
        g4, layers = self.g4, len(self.detector.geometry)
        manager = g4.G4SDManager.GetSDMpointer()
        for number, key in enumerate(rasters(self.detector)):
            raster = key[2]
            assert raster is not None
            inside = g4.G4MultiFunctionalDetector(f"cells{number}")
            outside = g4.G4MultiFunctionalDetector(f"plates{number}")
            for made in (inside, outside):
                manager.AddNewDetector(made)
            inside.RegisterPrimitive(g4.G4PSEnergyDeposit3D("e", layers, *raster.shape, 3, 1, 0))
            outside.RegisterPrimitive(g4.G4PSEnergyDeposit("e", 0))
            construction.SetSensitiveDetector(volumes.cells[key], inside)
            construction.SetSensitiveDetector(volumes.plates[key], outside)

    def read(self, event: Any) -> tuple[Array, Array]:
        """Energies of all cells ``(V,)`` and beside the cells of each layer ``(L,)`` [MeV], scaled."""
        cells = np.zeros(self.offsets[-1])
        beside = np.zeros(len(self.offsets) - 1)
        collections = event.GetHCofThisEvent()
        for inner, outer, target in self._collections:
            hits = list(collections.GetHC(inner))
            if hits:
                index, energy = zip(*hits, strict=True)
                np.add.at(cells, target[list(index)], energy)
            for layer, energy in collections.GetHC(outer):
                beside[layer] += energy
        scale = np.repeat(self.scale, np.diff(self.offsets))
        return cells * scale, beside * self.scale

    @staticmethod
    def events(
        readout: Readout, spec: Spec, detector: Detector, found: Sequence[tuple[Array, Array]]
    ) -> Batch:
        """As of the base class."""
        energies, beside = (np.stack(parts) for parts in zip(*found, strict=True))
        return readout.of_cells(spec, energies, beside)

    @property
    def _collections(self) -> list[tuple[int, int, NDArray[np.int64]]]:
        """Numbers of both collections of each kind of plate, and the flat cell of each index of the first."""
        if not self._found:
            manager = self.g4.G4SDManager.GetSDMpointer()
            for number, (_, _, raster) in enumerate(rasters(self.detector)):
                assert raster is not None
                own = [
                    k
                    for k, layer in enumerate(self.detector.geometry.layers)
                    if (layer.axes, layer.edges) == (raster.axes, raster.edges)
                ]
                index = np.arange(raster.size).reshape(raster.shape)
                target = np.zeros((len(self.scale), raster.size), np.int64)
                if raster.axes == ("alpha", "r"):  # replicas begin at an angle of 0, layers at -pi
                    index = np.roll(index, raster.shape[0] // 2, axis=0)
                for layer in own:
                    target[layer] = self.offsets[layer] + index.ravel()
                ids = (manager.GetCollectionID(f"{kind}{number}/e") for kind in ("cells", "plates"))
                self._found.append((*ids, target.ravel()))  # type: ignore[arg-type]  # two of them
        return self._found


class StepScoring(Scoring):
    """Every step in an active plate, through Python: the physics of undivided plates."""

    divided = False

    def attach(self, volumes: Volumes, construction: Any) -> None:
        """List the steps in active plates."""
        self._steps = _steps(self.g4, self.detector.booked == "start")
        self.g4.G4SDManager.GetSDMpointer().AddNewDetector(self._steps)
        for logical in volumes.plates.values():
            construction.SetSensitiveDetector(logical, self._steps)

    def read(self, event: Any) -> tuple[Array, Array]:
        """Steps ``(n, 5)``, see :data:`STEP`, with scaled energies, and nothing else."""
        found = np.array(self._steps.hits).reshape(-1, len(STEP))
        self._steps.hits.clear()
        found[:, 1] *= self.scale[found[:, 0].astype(np.int64)]
        return found, np.zeros(0)

    @staticmethod
    def events(
        readout: Readout, spec: Spec, detector: Detector, found: Sequence[tuple[Array, Array]]
    ) -> Batch:
        """As of the base class."""
        return readout.of_steps(spec, detector, [steps for steps, _ in found])


def _steps(g4: Geant4, start: bool) -> Any:
    """A sensitive detector that lists energy and place of each step: where it starts, or its middle."""

    class Steps(g4.G4VSensitiveDetector):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__("steps")
            self.hits: list[tuple[float, ...]] = []

        def ProcessHits(self, step: Any, history: Any) -> bool:  # noqa: N802 - Geant4's name
            energy = step.GetTotalEnergyDeposit()
            if energy > 0.0:
                before = step.GetPreStepPoint()
                layer = before.GetTouchable().GetReplicaNumber(0)
                a = before.GetPosition()
                if start:
                    self.hits.append((layer, energy, a.x, a.y, a.z))
                else:
                    b = step.GetPostStepPoint().GetPosition()
                    middle = 0.5 * (a.x + b.x), 0.5 * (a.y + b.y), 0.5 * (a.z + b.z)
                    self.hits.append((layer, energy, *middle))
            return True

    return Steps()


SCORINGS: dict[str, type[Scoring]] = {"cells": CellScoring, "steps": StepScoring}
