"""Students of showers' flows.

The flow of the layer energies is the teacher's. Those of the cells are turned around and learn from the
teacher's by probability density distillation (:mod:`simulacra.dynamics.distillation`).
"""

from __future__ import annotations

from collections.abc import Sequence

from simulacra.core import Spec
from simulacra.dynamics.density import Density, MakeDensity
from simulacra.dynamics.distillation import copy_fixed_steps, inverted
from simulacra.dynamics.flows import Flow
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.training.teacher import Student, Teacher, copy_weights


class FlowStudent(Student, ShowerModel):
    """See the module's docstring; all parts but the widths of the cells' networks must be the teacher's.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        energies: Makes the flow of the layer energies.
        cells: Makes the density of the cells as the teacher's, with masked autoregressive flows.
        optim: What moves it.
        teacher: Checkpoint of a trained teacher, read when training begins (None: it can be sampled, but not
            trained).
        guided: Compare also the free numbers of all splines.
    """

    energies: Density

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        energies: MakeDensity,
        cells: MakeDensity,
        optim: Optim,
        teacher: str | None,
        guided: bool,
    ) -> None:
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )
        self.teacher = None if teacher is None else Teacher(teacher)
        self.guided = guided
        for flow in flows_of(self.cells):
            inverted(flow)
        self.energies.requires_grad_(False)

    def adopt(self, teacher: GenerativeModule) -> None:
        """Energies and fixed steps."""
        assert isinstance(teacher, ShowerModel)
        assert teacher.energies is not None
        copy_weights(self.energies, teacher.energies, "flows of the layer energies")
        for mine, theirs in zip(flows_of(self.cells), flows_of(teacher.cells), strict=True):
            copy_fixed_steps(mine, theirs)

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of the cells."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return {"student": Objective(self._loss, trained, self.optim)}


def flows_of(density: Density) -> list[Flow]:
    """All flows that a density consists of, in fixed order."""
    return [part for part in density.modules() if isinstance(part, Flow)]
