"""Showers on grids layer by layer: layer energies first, then the cells of one layer after the other.

Each layer is trained given the *true* layers before it; in sampling it sees generated ones.
:meth:`Layerwise.continued` gives showers for both, whose difference is the exposure bias.
"""

from __future__ import annotations

import torch

from simulacra.core import Batch, Latent, Spec
from simulacra.dynamics.layer_chain import LayerChain
from simulacra.models.showers.shower_model import ShowerModel


class Layerwise(ShowerModel):
    """A model whose density of the cells is a chain of layers."""

    cells: LayerChain

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        if spec.kind == "layers":
            return "it needs layers of equal shape, and this data set's differ"
        return super().accepts(spec)

    @torch.no_grad()
    def continued(
        self, batch: Batch, true_layers: bool, generator: torch.Generator | None = None
    ) -> Batch:
        """Showers with the layer energies of ``batch``, each layer drawn after true or generated layers.

        With ``true_layers`` a layer is what the model makes of the true layers before it, as in training;
        else showers are drawn freely. A score that is worse for the latter, and the more so the deeper the
        layer, shows the exposure bias.
        """
        with self.evaluating():
            latent = self.encode(batch, generator)
            truth = latent.x["cells"] if true_layers else None
            cells = self.cells.sample(len(batch), self.context(latent), generator, truth)
            made = Latent({**latent.x, "cells": cells}, latent.cond)
            return self.decode(made, batch.conditions(self.given), generator)
