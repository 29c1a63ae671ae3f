"""CaloDiT's consistency model: showers in one call of the network.

Generates: what its teacher, a :mod:`simulacra.models.showers.calodit`, generates, with one evaluation of a
    network of the same shape.
Conditions and representation: the teacher's.
Reference: arXiv:2509.07700; Song et al. 2023, arXiv:2303.01469.
"""

from __future__ import annotations

from simulacra.models.showers.calodit import CaloDiT
from simulacra.models.showers.shower_student import ShowerStudent


class CaloDiTCM(ShowerStudent):
    """A :class:`~simulacra.dynamics.distilled_density.DistilledDensity` of the cells."""

    learns_from = CaloDiT
    inherits = ShowerStudent.same("transform", "energies", "cells.net", "cells.process")
