r"""iCaloFlow's student: showers layer by layer, every layer in one pass.

Generates what :mod:`simulacra.models.showers.icaloflow` generates, with inverse-autoregressive flows of the
layers that learn from a trained teacher by probability density distillation
(:mod:`simulacra.dynamics.distillation`); the flow of the layer energies is the teacher's.

Reference: Buckley et al., arXiv:2305.11934, section 3.

Note:
    Both chains are steered by true energies and true layers. At the published size the flow of the next
    layers is 384 wide for 144 cells, which gives 24.5 M parameters as published; for 900 cells the widths are
    those of the teacher (95.1 M).
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Latent, draws
from simulacra.dynamics.distillation import distil
from simulacra.dynamics.layer_chain import known
from simulacra.models.showers.flow_student import FlowStudent
from simulacra.models.showers.icaloflow import ICaloFlow


class ICaloFlowStudent(FlowStudent, ICaloFlow):
    """Inverse-autoregressive flows of the first layer and all others."""

    learns_from = ICaloFlow
    inherits = FlowStudent.same("transform", "energies", "cells.flow")

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Sum over both flows; ``kl`` and the chains are means over the layers."""
        taught = self.taught_by()
        assert isinstance(taught, ICaloFlow)
        teachers = {"first": taught.cells.first, "next": taught.cells.next}
        x, context, weight = self.described(latent)["cells"]
        found: dict[str, dict[str, Tensor]] = {}
        rows = self.cells.rows(x, known(context), self.cells.each, generator, weight)
        for name, item in rows.items():
            z = draws.normal(item.x.shape, item.x, generator)
            found[name] = distil(
                item.flow, teachers[name], item.x, z, item.context, item.context,
                guided=self.guided, weight=item.weight,
            )  # fmt: skip
        layers = len(self.cells.widths)
        logged = {
            key: (value + (layers - 1) * found["next"][key]) / layers
            for key, value in found["first"].items()
        }
        return {**logged, "loss": found["first"]["loss"] + found["next"]["loss"]}
