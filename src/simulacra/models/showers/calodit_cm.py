"""CaloDiT's consistency model: showers in one call of the network.

Generates: what its teacher, a :mod:`simulacra.models.showers.calodit`, generates, with one evaluation of a
    network of the same shape.
Conditions and representation: the teacher's.
Reference: arXiv:2509.07700; Song et al. 2023, arXiv:2303.01469.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulacra.core import Spec
from simulacra.dynamics.density import MakeDensity
from simulacra.models.showers.calodit import CaloDiT
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.training.density_student import DensityStudent
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class CaloDiTCM(DensityStudent, ShowerModel):
    """A :class:`~simulacra.dynamics.distilled_density.DistilledDensity` of the cells.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: Makes the transform, as the teacher's.
        energies: Makes the density of the event numbers, which is the teacher's.
        cells: Makes the density of the cells, with the teacher's network.
        optim: What moves it.
    """

    learns_from = CaloDiT
    inherits = DensityStudent.same("transform", "energies", "cells.net", "cells.process")

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        energies: MakeDensity | None,
        cells: MakeDensity,
        optim: Optim,
    ) -> None:
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )
        self.learn_from(teacher)

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation."""
        return self.student(super().objectives())
