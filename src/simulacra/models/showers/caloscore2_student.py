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

from collections.abc import Sequence

from simulacra.core import Spec
from simulacra.dynamics.density import MakeDensity
from simulacra.models.showers.caloscore2 import CaloScore2
from simulacra.models.showers.shower_model import MakeTransform
from simulacra.training.density_student import DensityStudent
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class CaloScore2Student(DensityStudent, CaloScore2):
    """A :class:`~simulacra.dynamics.distilled_density.DistilledDensity` of each part.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: Makes the transform, as the teacher's.
        energies: Makes the density of the layer energies, with the teacher's network.
        cells: Makes the density of the cells, with the teacher's network.
        optim: What moves both.
    """

    learns_from = CaloScore2
    inherits = DensityStudent.same(
        "transform", "energies.net", "energies.process", "cells.net", "cells.process"
    )
    chains = True

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        energies: MakeDensity,
        cells: MakeDensity,
        optim: Optim,
    ) -> None:
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )
        self.learn_from(teacher)

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of both parts."""
        return self.student(super().objectives())
