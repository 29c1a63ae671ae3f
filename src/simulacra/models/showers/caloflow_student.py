r"""CaloFlow's student: calorimeter showers in one pass per block.

Generates what :mod:`simulacra.models.showers.caloflow_teacher` generates. The flow of the layer energies is
the teacher's; the flow of the cells is inverse-autoregressive and learns from the teacher's by probability
density distillation (:mod:`simulacra.dynamics.distillation`): true showers in the x-chain, noise in the
z-chain, there with layer energies that the first flow draws at the conditions of the data. ``kl``, the
divergence of the student from the teacher in nats per cell, is logged and can choose the checkpoint.
Samples are fast, the density comes cell by cell.

References: Krause and Shih, arXiv:2110.11377; Krause et al., arXiv:2210.14245 (CaloChallenge data set 1).

Note:
    Preprocessing and the small sizes' affine step and ActNorms are the teacher's. The published sizes have
    56.5 M parameters for the 368 cells in 5 layers of photons (width 736, fully guided) and 53.4 M for the
    533 in 7 of pions (width 500); arXiv:2410.21611 says 56.6 M and 53.4 M.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Latent, draws
from simulacra.dynamics.distillation import distil
from simulacra.dynamics.flows import Flow
from simulacra.models.showers.caloflow_teacher import CaloFlowTeacher
from simulacra.models.showers.flow_student import FlowStudent


class CaloFlowStudent(FlowStudent, CaloFlowTeacher):
    """An inverse-autoregressive flow of the cells."""

    learns_from = CaloFlowTeacher
    inherits = FlowStudent.same(
        "transform", "energies", "cells.blocks", "cells.affine", "cells.actnorm", "cells.spline"
    )
    cells: Flow

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As the teacher; in training also ``drawn``, layer energies of the first flow at the conditions."""
        latent = super().encode(batch, generator)
        if not self.training and generator is None:
            return latent
        cond = batch.conditions(self.transform.conditions.names)
        with torch.no_grad():
            drawn = self.transform.context(self.draw_energies(cond, generator), cond)
        assert drawn is not None
        return replace(latent, x={**latent.x, "drawn": drawn})

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        taught = self.taught_by()
        assert isinstance(taught, CaloFlowTeacher)
        assert isinstance(taught.cells, Flow)
        x, context, weight = self.described(latent)["cells"]
        z = draws.normal(x.shape, x, generator)
        asked = self.context(Latent({"layers": latent.x["drawn"]}, latent.cond))
        return distil(
            self.cells, taught.cells, x, z, context, asked, guided=self.guided, weight=weight
        )
