"""CaloScore v2 distilled: showers in half the steps of a teacher, stage by stage down to one.

Generates: what its teacher, a :mod:`simulacra.models.showers.caloscore2` or another student, generates, in
    ``steps`` steps of DDIM where the teacher takes twice as many. Layer energies and cells learn together.
Conditions and representation: the teacher's.
Reference: Mikuni, Nachman 2023, arXiv:2308.03847; Salimans and Ho 2022, arXiv:2202.00512.

Note:
    A stage is a run of its own, which starts from the weights of the stage before (those of its moving
    average) and learns from it: ``sweeps=halving`` does all of them. What a student learns is an average of
    the teacher's data in two steps, so that nothing is divided by almost nothing
    (:mod:`simulacra.dynamics.consistency`).
"""

from __future__ import annotations

from simulacra.models.showers.caloscore2 import CaloScore2
from simulacra.models.showers.shower_student import ShowerStudent


class CaloScore2Student(ShowerStudent, CaloScore2):
    """A :class:`~simulacra.dynamics.distilled_density.DistilledDensity` of each part."""

    learns_from = CaloScore2
    inherits = ShowerStudent.same(
        "transform", "energies.net", "energies.process", "cells.net", "cells.process"
    )
    chains = True
