"""From configuration to what Geant4 simulates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simulacra import data as data_sets
from simulacra.core.constructors import constructor
from simulacra.core.detector import Detector
from simulacra.core.instantiate import TRUSTED, instantiate
from simulacra.core.ranges import Positive
from simulacra.deploy.geant4.runtime import ELECTROMAGNETIC
from simulacra.deploy.geant4.showers import Geant4Showers
from simulacra.deploy.geant4.simulation import Physics
from simulacra.deploy.readout import Readout, Voxels
from simulacra.evaluation import config as tree
from simulacra.formats.base import Format
from simulacra.formats.produced import ProducedShowers, produced


@constructor
def showers(
    asked: Mapping[str, Any], physics: str = ELECTROMAGNETIC, cut: Positive = 0.7
) -> Geant4Showers:
    """Showers of a detector's gun.

    Args:
        asked: Configuration of the command: ``detector``, ``data`` and ``particle``.
        physics: See :class:`~simulacra.deploy.geant4.simulation.Physics`.
        cut: Production cut, a range [mm].

    Raises:
        UserError: If the data set is none of this detector, or Geant4 or its tables are not there.
    """
    detector = detector_of(asked)
    if asked["particle"] is not None:
        detector = replace(detector, gun=replace(detector.gun, particle=asked["particle"]))
    format, readout = target(detector, asked.get("data"))
    return Geant4Showers(format, detector, readout, Physics(physics, cut))


def detector_of(asked: Mapping[str, Any]) -> Detector:
    """The detector of a command's configuration."""
    found: Detector = instantiate(asked["detector"], Detector, TRUSTED, "detector")
    return found


def target(detector: Detector, data: Mapping[str, Any] | None) -> tuple[Format, Readout]:
    """The format that is written, and the way from steps to its events.

    Args:
        detector: What is simulated.
        data: Configuration of a data set; None: the public one of the detector, or one of its own.
    """
    if data is not None:
        entry = data
    elif detector.data is not None:
        entry = tree.load_choice("data", detector.data)
    else:
        return ProducedShowers(produced(detector)), Voxels()
    readout = entry.get("readout")
    made = Voxels() if readout is None else instantiate(readout, Readout, TRUSTED, "data.readout")
    return data_sets.build(entry).format, made
