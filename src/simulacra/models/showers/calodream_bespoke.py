"""CaloDREAM's bespoke solver: showers of a trained CaloDREAM in a few learned steps.

Generates what :mod:`simulacra.models.showers.calodream` generates. Both networks are the teacher's and are
not trained again; what learns are the times and weights of the solver that draws the cells
(:mod:`simulacra.dynamics.learned_solver`), a few hundred numbers.
Reference: CaloDREAM, arXiv:2405.09629, section 4.3; Shaul et al., arXiv:2403.01329.

Note:
    The published solver has 16 steps and learns in 3,500 iterations from paths of an adaptive solver to a
    tolerance of 1e-5; here paths have a fixed number of fourth-order steps and are interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Spec
from simulacra.dynamics.density import MakeDensity
from simulacra.models.showers.calodream import CaloDREAM
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.training.density_student import DensityStudent
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class CaloDREAMBespoke(DensityStudent, ShowerModel):
    """Cells by a :class:`~simulacra.dynamics.bespoke_density.BespokeDensity`.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: Makes the transform, as the teacher's.
        energies: Makes the density of the layer energies, the teacher's.
        cells: Makes the density of the cells, with the teacher's network.
        optim: What moves the solver.
    """

    learns_from = CaloDREAM
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
        """One: the local error of the solver."""
        return self.student(super().objectives())

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Of the cells alone: the energies are not trained again."""
        error = self.cells.loss(*self.described(latent)["cells"], generator)
        return {"loss": error, "local_error": error.detach()}
