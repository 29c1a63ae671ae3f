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

import torch
from torch import Tensor

from simulacra.core import Latent
from simulacra.models.showers.calodream import CaloDREAM
from simulacra.models.showers.shower_student import ShowerStudent


class CaloDREAMBespoke(ShowerStudent):
    """Cells by a :class:`~simulacra.dynamics.bespoke_density.BespokeDensity`."""

    learns_from = CaloDREAM
    inherits = ShowerStudent.same("transform", "energies", "cells.net", "cells.process")

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Of the cells alone: the energies are not trained again."""
        error = self.cells.loss(*self.described(latent)["cells"], generator)
        return {"loss": error, "local_error": error.detach()}
