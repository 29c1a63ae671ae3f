"""Showers of single particles from Geant4, as events of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from simulacra.core import Batch
from simulacra.core.detector import Detector
from simulacra.deploy.geant4 import runtime, tables
from simulacra.deploy.geant4.simulation import Physics, Simulation
from simulacra.deploy.primaries import shot
from simulacra.deploy.production import Note, Simulator
from simulacra.deploy.readout import Readout, conditions
from simulacra.formats.base import Format
from simulacra.formats.binning import polar, write_binning
from simulacra.formats.calochallenge import CaloChallenge

ACKNOWLEDGEMENT = (
    "simulated with Geant4 (http://cern.ch/geant4): S. Agostinelli et al., NIM A 506 (2003) 250; "
    "J. Allison et al., IEEE TNS 53 (2006) 270; J. Allison et al., NIM A 835 (2016) 186"
)


class Geant4Showers(Simulator):
    """See the module's docstring.

    Args:
        format: Format and spec of the data set.
        detector: What is built, with its gun.
        readout: From steps to events of the data set.
        physics: What is simulated.

    Raises:
        UserError: If Geant4 is not installed, or there are no tables.
    """

    def __init__(
        self, format: Format, detector: Detector, readout: Readout, physics: Physics
    ) -> None:
        super().__init__(format)
        runtime.require()
        self.detector, self.readout, self.physics = detector, readout, physics
        self.tables = tables.find()
        self.scoring = readout.scoring(format.spec, detector)

    @property
    def provenance(self) -> Mapping[str, Note]:
        """Geant4's version, tables, physics, detector and gun."""
        gun = self.detector.gun
        return {
            "simulator": f"Geant4 by geant4_pybind {runtime.version()}",
            "geant4_tables": "those of simulacra" if self.tables.small else str(self.tables.folder),
            "physics": self.physics.name,
            "production_cut_mm": self.physics.cut,
            "detector": self.detector.name,
            "detector_hash": self.detector.digest,
            "readout": self.scoring,
            "particle": gun.particle,
            "energy_gev": f"{gun.spectrum} {gun.energy[0]:g} to {gun.energy[1]:g}",
            "theta_deg": f"{gun.theta[0]:g} to {gun.theta[1]:g}",
            "phi_deg": f"{gun.phi[0]:g} to {gun.phi[1]:g}",
            "entry_mm": f"{gun.x[0]:g} to {gun.x[1]:g}, {gun.y[0]:g} to {gun.y[1]:g}",
        }

    @property
    def acknowledgement(self) -> str:
        """Geant4's papers."""
        return ACKNOWLEDGEMENT

    def finish(self, target: Path) -> Sequence[Path]:
        """A binning file beside the showers, where it can describe their cells."""
        geometry = self.format.spec.geometry
        if not isinstance(self.format, CaloChallenge) or geometry is None or not polar(geometry):
            return ()
        beside = target.with_name(f"{target.stem}_binning.xml")
        write_binning(beside, geometry, self.detector.gun.particle)
        return (beside,)

    def open(self) -> None:
        """Build the detector in this process."""
        self._simulation = Simulation(self.detector, self.physics, self.scoring)

    def run(self, chunk: int, n: int, seed: int) -> Batch:
        """``n`` showers of the gun's particles."""
        spec = self.format.spec
        primaries = shot(self.detector.gun, n, np.random.default_rng(seed))
        events = self._simulation.run(primaries, seed)
        found = [(event.first, event.second) for event in events]
        made = self._simulation.scoring.events(self.readout, spec, self.detector, found)
        cond = conditions(spec, primaries, self.readout.polar)
        batch = Batch(made.x, cond, made.event, made.mask)
        spec.validate(batch)
        return batch
