"""Students of showers' diffusions.

Those densities that learn have the networks of the teacher's; the others are the teacher's own and are not
trained again (:mod:`simulacra.training.density_student`).
"""

from __future__ import annotations

from collections.abc import Sequence

from simulacra.core import Spec
from simulacra.dynamics.density import MakeDensity
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.training.density_student import DensityStudent
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class ShowerStudent(DensityStudent, ShowerModel):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: Makes the transform, as the teacher's.
        energies: Makes the density of layer energies and event numbers, where the transform has any.
        cells: Makes the density of the cells.
        optim: What moves those that learn.
    """

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
        """One, of all densities that learn."""
        return self.student(super().objectives())
