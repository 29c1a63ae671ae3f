r"""Variational auto-encoder of showers: layer energies, then cells from the likelihood of what is decoded.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
    incident energy and any further condition. A flow draws the layer energies; the vector that all cells of a
    shower share is drawn from its prior, and the cells from a decoder's likelihood given it, the layer
    energies and the conditions (:mod:`simulacra.dynamics.latent_density`).
Conditions: whatever the data set is conditioned on.
Representation: grids and layers with an incident energy.
References: Kingma and Welling, arXiv:1312.6114; the published size is that of the example Par04 of Geant4
    11.4, which has one network for cells over the incident energy; ``calovae_inn`` has the flow of CaloINN
    in the place of the normal prior (arXiv:2312.09290).

Note:
    The density of the vector learns beside encoder and decoder, from what they make at each step, and not
    after them; what moves all is one optimizer. In its first part the divergence gains weight, so that the
    decoder has learnt to read the vector before it costs anything. The published size differs from the
    example: norms over the outputs of a layer in place of the batch, conditions scaled to [-1, 1], and the
    geometry of a mixture is its label.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Spec
from simulacra.core.ranges import Share
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.latent_density import LatentDensity, check_coded
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.training.optim import Optim


class VAE(ShowerModel):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        energies: Makes the density of the layer energies and event numbers, where the transform has any.
        cells: Makes the density of the cells, a :class:`~simulacra.dynamics.latent_density.LatentDensity`.
        optim: What moves all.
        warmup: Part of a training in which the weight of the divergence rises from 0, linearly.

    Raises:
        UserError: If the density of the cells has no encoder.
    """

    cells: LatentDensity

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        energies: MakeDensity | None,
        cells: MakeDensity,
        optim: Optim,
        warmup: Share,
    ) -> None:
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )
        check_coded(self.cells)
        self.warmup = warmup

    @property
    def warmth(self) -> float:
        """Factor on the weight of the divergence; 1 outside of a training."""
        if not self.in_training or self.progress >= self.warmup:
            return 1.0
        return self.progress / self.warmup

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        described = self.described(latent)
        coded = self.cells.reconstruction(*described["cells"], generator, self.warmth)
        terms = {"cells": coded["loss"]}
        if self.cells.learns:
            terms["latent"] = self.cells.loss(*described["cells"], generator)
        if self.energies is not None:
            terms["energies"] = self.energies.loss(*described["energies"], generator)
        logged = {name: value.detach() for name, value in terms.items()}
        total = torch.stack(list(terms.values())).sum()
        return {"loss": total, "divergence": coded["divergence"], **logged}
