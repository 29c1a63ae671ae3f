r"""Lengths in which showers develop, by material, under Geant4's names.

Radiation lengths :math:`X_0` are those of Geant4 11.4 (``G4Material.GetRadlen``); Molière radii follow from
:math:`R_M = 21.2\,\mathrm{MeV} \cdot X_0 / E_c` with the critical energy
:math:`E_c = 610\,\mathrm{MeV} / (Z + 1.24)` of each element of a material (Particle Data Group, "Passage of
particles through matter").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulacra.core.errors import UserError


@dataclass(frozen=True)
class Material:
    """Lengths of one material.

    Args:
        radiation_length: :math:`X_0` [mm].
        moliere_radius: :math:`R_M` [mm].
    """

    radiation_length: float
    moliere_radius: float


MATERIALS = {
    "G4_AIR": Material(303920.7, 90713.2),
    "G4_Al": Material(88.963, 44.028),
    "G4_BGO": Material(11.18, 22.33),
    "G4_BRASS": Material(13.675, 16.251),
    "G4_CESIUM_IODIDE": Material(18.603, 35.724),
    "G4_Cu": Material(14.356, 15.087),
    "G4_Fe": Material(17.575, 16.638),
    "G4_Ni": Material(14.242, 14.473),
    "G4_Pb": Material(5.6125, 16.237),
    "G4_PbWO4": Material(8.9245, 20.014),
    "G4_PLASTIC_SC_VINYLTOLUENE": Material(425.44, 94.518),
    "G4_POLYSTYRENE": Material(413.13, 92.809),
    "G4_STAINLESS-STEEL": Material(17.381, 16.355),
    "G4_Si": Material(93.661, 49.608),
    "G4_W": Material(3.5042, 9.1631),
    "liquidArgon": Material(140.64, 94.041),
}
"""Materials of the detectors that the package describes; ``liquidArgon`` has 1.39 g/cm3, as in CaloGAN."""


def effective(stack: Iterable[tuple[str, float]]) -> Material:
    """Lengths of a stack of ``(material, thickness [mm])`` as if it were one material.

    Raises:
        UserError: If one of the materials has no entry.
    """
    total = rate = radius = 0.0
    for name, thickness in stack:
        if name not in MATERIALS:
            raise UserError(
                f"no radiation length of {name!r} is known: there are {', '.join(sorted(MATERIALS))}"
            )
        total += thickness
        rate += thickness / MATERIALS[name].radiation_length
        radius += thickness / MATERIALS[name].moliere_radius
    return Material(total / rate, total / radius)
