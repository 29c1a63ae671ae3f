"""Table-FM distilled: rows of a table in a few steps.

Generates: what its teacher, a :mod:`simulacra.models.tables.table_fm`, generates, with half of its steps
    or, from a teacher with a preconditioned denoiser, in one.
Conditions and representation: the teacher's.
Reference: Salimans and Ho 2022, arXiv:2202.00512; Song et al. 2023, arXiv:2303.01469.

Note:
    The model is our own, so that no size of it is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from simulacra.core import Spec
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.diffusion_density import MakeNet
from simulacra.dynamics.distilled_density import DistilledDensity
from simulacra.dynamics.solvers import Solver
from simulacra.dynamics.students import Distillation
from simulacra.models.tables.table import MakeTransform, TableModel
from simulacra.models.tables.table_fm import TableFM
from simulacra.training.density_student import DensityStudent
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class TableFMStudent(DensityStudent, TableModel):
    """A :class:`~simulacra.dynamics.distilled_density.DistilledDensity` of all columns.

    Args:
        spec: The data set, of kind table.
        given: Conditions and event fields that are given (None: the conditions).
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: Makes the transform, as the teacher's.
        net: Makes the network, as the teacher's.
        process: How the teacher learnt.
        distillation: How the student learns.
        solver: Solver for sampling.
        optim: What moves it.
    """

    learns_from = TableFM
    inherits = DensityStudent.same("transform", "net", "process")

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        net: MakeNet,
        process: Diffusion,
        distillation: Distillation,
        solver: Solver,
        optim: Optim,
    ) -> None:
        density = partial(
            DistilledDensity, net=net, process=process, distillation=distillation, solver=solver
        )
        super().__init__(spec, given, transform=transform, density=density, optim=optim)
        self.learn_from(teacher)

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation."""
        return self.student(super().objectives())
