"""How long Geant4 takes for one shower, to hold a generator's time against.

The time grows in proportion to the incident energy. Times per GeV are interpolated between the
measured energies, and the one of the nearest energy holds outside them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np


@dataclass(frozen=True)
class Geant4Time:
    """Geant4's time for one shower.

    Args:
        ms: CPU time per shower [ms].
        error: Its statistical error [ms].
        energy: Incident energy [GeV].
        detector: What was simulated.
        source: How it was measured.
        extrapolated: Whether the energy lies outside the measured ones.
    """

    ms: float
    error: float
    energy: float
    detector: str
    source: str
    extrapolated: bool


def geant4_time(data: str, energy: float) -> Geant4Time | None:
    """Geant4's time at a mean incident energy [GeV], or None where it was not measured.

    Args:
        data: Name of the data set; a view after ``+`` makes no difference.
        energy: Mean incident energy of the showers [GeV].
    """
    table = json.loads((files("simulacra.tracking") / "geant4.json").read_text())
    for set_up in table["set_ups"]:
        if data.partition("+")[0] in set_up["data"]:
            measured = np.array(set_up["energy_gev"], dtype=float)
            per_gev, error = (
                float(np.interp(energy, measured, np.array(set_up[key]) / measured)) * energy
                for key in ("ms", "error")
            )
            outside = not measured[0] <= energy <= measured[-1]
            return Geant4Time(per_gev, error, energy, set_up["detector"], table["source"], outside)
    return None
