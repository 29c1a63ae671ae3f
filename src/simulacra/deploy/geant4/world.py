"""Geant4's volumes of a detector: plates, and cells inside them where they are read by scorers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from simulacra.core import UserError
from simulacra.core.detector import Detector, Plate
from simulacra.core.geometry import Layer
from simulacra.deploy.geant4.runtime import Geant4

MARGIN = 100.0
"""Of vacuum around the detector [mm]."""
SHEET = 1e-3
"""Thickness of the sheet of vacuum before the first plate, at which entering particles are noticed [mm]."""
VACUUM = "G4_Galactic"
Sensitive = Callable[[], Any]
"""Makes a sensitive detector, once particles are known."""


def material(g4: Geant4, name: str) -> Any:
    """A material by name.

    Raises:
        UserError: If Geant4 does not know it.
    """
    if name == "liquidArgon":  # 1.39 g/cm3, as in CaloGAN
        made = g4.G4Material.GetMaterial(name, False)
        return made or g4.G4Material(name, 18, 39.95 * g4.g / g4.mole, 1.39 * g4.g / g4.cm3)
    found = g4.G4NistManager.Instance().FindOrBuildMaterial(name)
    if found is None:
        raise UserError(f"Geant4 knows no material {name!r}: its names are like G4_Pb or G4_AIR")
    return found


def pitch(layer: Layer) -> tuple[float, float]:
    """Sizes of the cells of a layer along both axes [mm or rad].

    Raises:
        UserError: If they are not all equal, or rings do not begin at the axis: scorers cannot read them.
    """
    found = []
    for edges in layer.edges:
        sizes = [b - a for a, b in pairwise(edges)]
        if max(sizes) - min(sizes) > 1e-6 * max(sizes):
            raise UserError(
                "cells of different sizes are read by steps: set detector.readout=steps"
            )
        found.append(sum(sizes) / len(sizes))
    if layer.axes == ("alpha", "r") and layer.edges[1][0] != 0:
        raise UserError("rings around a hole are read by steps: set detector.readout=steps")
    return found[0], found[1]


Key = tuple[str, float, Layer | None]
"""What plates share if they are one volume to Geant4: material, thickness, cells."""


def key_of(detector: Detector, plate: Plate) -> Key:
    """See :data:`Key`."""
    if plate.layer is None or detector.slices is not None:
        return plate.material, plate.thickness, None
    layer = detector.geometry.layers[plate.layer]
    raster = Layer(0, layer.axes, layer.edges, 0.0, layer.periodic)
    return plate.material, plate.thickness, raster


def rasters(detector: Detector) -> list[Key]:
    """The different plates with cells, in order."""
    keys = (key_of(detector, plate) for plate in detector.plates if plate.layer is not None)
    return list(dict.fromkeys(keys))


class Volumes:
    """Builds volumes inside Geant4, whose stores own them; only what is read out is remembered.

    Args:
        g4: Geant4.
        detector: What is built.
        cells: Whether plates are divided into cells.
    """

    def __init__(self, g4: Geant4, detector: Detector, cells: bool) -> None:
        self.g4, self.detector, self.divided = g4, detector, cells
        self.plates: dict[Key, Any] = {}
        self.cells: dict[Key, Any] = {}
        self.sheet: Any = None

    def build(self, sheet: bool) -> Any:
        """The world, with a sheet before the first plate if asked."""
        wide, deep = self.detector.width, self.detector.depth
        vacuum = material(self.g4, VACUUM)
        far = deep + self.detector.gun.distance + MARGIN
        world = self._box("world", wide + 2 * MARGIN, wide + 2 * MARGIN, 2 * far, vacuum)
        made: dict[tuple[Key, bool], Any] = {}
        for plate, front in zip(self.detector.plates, self.detector.fronts, strict=True):
            key, active = key_of(self.detector, plate), plate.layer is not None
            if (key, active) not in made:
                stuff = material(self.g4, plate.material)
                logical = self._box("plate", wide, wide, plate.thickness, stuff)
                made[key, active] = logical
                if active:
                    self.plates[key] = logical
                    if self.divided:
                        self.cells[key] = self._cells(key, logical, stuff)
            number = -1 if plate.layer is None else plate.layer
            self._place(made[key, active], world, front + plate.thickness / 2, number)
        if sheet:
            self.sheet = self._box("entrance", wide, wide, SHEET, vacuum)
            self._place(self.sheet, world, -SHEET / 2, 0)
        nowhere = self.g4.G4ThreeVector()
        return self.g4.G4PVPlacement(None, nowhere, world, "world", None, False, 0)

    def _box(self, name: str, x: float, y: float, z: float, stuff: Any) -> Any:
        return self.g4.G4LogicalVolume(self.g4.G4Box(name, x / 2, y / 2, z / 2), stuff, name)

    def _place(self, logical: Any, mother: Any, z: float, number: int = 0, x: float = 0.0) -> None:
        at = self.g4.G4ThreeVector(x, 0.0, z)
        self.g4.G4PVPlacement(None, at, logical, logical.GetName(), mother, False, number)

    def _cells(self, key: Key, plate: Any, stuff: Any) -> Any:
        """Replicas inside a plate: depth 0 of a touchable is the second index, 1 the first, 3 the plate."""
        g4, (_, thick, raster) = self.g4, key
        assert raster is not None
        (rows, cols), (first, second) = raster.shape, pitch(raster)
        if raster.axes == ("alpha", "r"):

            def tube(name: str, radius: float, start: float, opening: float) -> Any:
                solid = g4.G4Tubs(name, 0.0, radius, thick / 2, start, opening)
                return g4.G4LogicalVolume(solid, stuff, name)

            area = tube("area", cols * second, 0.0, 2 * math.pi)
            row = tube("row", cols * second, -first / 2, first)
            cell = tube("cell", second, -first / 2, first)
            kinds = g4.kPhi, g4.kRho
            middle = (0.0, 0.0)
        else:
            area = self._box("area", rows * first, cols * second, thick, stuff)
            row = self._box("row", first, cols * second, thick, stuff)
            cell = self._box("cell", first, second, thick, stuff)
            kinds = g4.kXAxis, g4.kYAxis
            middle = tuple((e[0] + e[-1]) / 2 for e in raster.edges)  # type: ignore[assignment]
        at = g4.G4ThreeVector(*middle, 0.0)
        g4.G4PVPlacement(None, at, area, "area", plate, False, 0)
        g4.G4PVReplica("row", row, area, kinds[0], rows, first)
        g4.G4PVReplica("cell", cell, row, kinds[1], cols, second)
        return cell
