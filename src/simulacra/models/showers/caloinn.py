r"""CaloINN: exact-likelihood coupling flow of calorimeter showers.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition. The flow is a stack of ActNorm, fixed permutation and
rational-quadratic spline coupling, trained by its negative log-likelihood. Without a part ``energies`` one
flow holds layer energies and cells, as published; otherwise

.. math:: p(x | c) = p(u | c)\; p(v | E_1 \dots E_L, c),

a small flow of the layer energies and a large one of the cells (:mod:`simulacra.transforms.showers`).

With ``bayesian`` every weight of the networks is normally distributed (:mod:`simulacra.nn.variational`): the
divergence from the prior over the number of training events joins the loss, and ``sample(posterior_draws=k)``
draws networks.

Reference: Ernst et al., arXiv:2312.09290, section 2.3 on Bayesian networks; code heidelberg-hepml/CaloINN.

Note:
    Differs from the reference: logarithms relative to a floor, empty cells filled below it and noise on each
    layer's scale, in place of uniform noise and ``log(x + 1e-8)``; fractions u as logits; layers scaled back
    without leaving a cell below the floor; permutations alternate between a shuffle and a swap of the halves;
    ActNorm is initialised from training events before training. The published sizes (joint, 12 blocks, 10
    bins, four linear layers of 256) have 18.8 M parameters for 368 cells in 5 layers and 26.6 M for 533 in 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from simulacra.core import Latent, Spec
from simulacra.dynamics.flows import Flow
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.nn.variational import Bayesian
from simulacra.training.bayesian import Variational, undecayed
from simulacra.training.optim import Optim


class CaloINN(Variational, ShowerModel):
    """Coupling flows with splines.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        energies: Makes the flow of the layer energies (None: that of the cells describes both).
        cells: Makes the flow of the cells.
        optim: What moves both.
        bayesian: Whether the weights of all networks are normally distributed.
        weights: How they are then; given to both flows as ``bayesian``.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        energies: Callable[..., Flow] | None,
        cells: Callable[..., Flow],
        optim: Optim,
        bayesian: bool,
        weights: Bayesian,
    ) -> None:
        if bayesian:
            optim = Optim(undecayed(optim.optimizer), optim.scheduler)
            cells = partial(cells, bayesian=weights)
            energies = None if energies is None else partial(energies, bayesian=weights)
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Also each flow's divergence per training event, scaled as its likelihood."""
        values = super()._loss(latent, generator)
        if not self.has_posterior:
            return values
        flows = self.parts().values()
        found = [self.divergence(flow) for flow in flows]
        scaled = [value / flow.features for value, flow in zip(found, flows, strict=True)]
        total = torch.stack(found).sum().detach()
        return {
            **values,
            "loss": values["loss"] + torch.stack(scaled).sum(),
            "divergence": total,
        }
