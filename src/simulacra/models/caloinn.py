r"""CaloINN: exact-likelihood coupling flow of calorimeter showers.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition. The flow is a stack of ActNorm, fixed permutation and
rational-quadratic spline coupling, trained by its negative log-likelihood. With ``joint`` one flow holds
layer energies and cells, as published; otherwise

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

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Latent, Spec
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.splines import Spline
from simulacra.models.posterior import Variational, undecayed
from simulacra.models.shower_flow import ShowerFlow
from simulacra.nn.variational import Bayesian

STANDARD = Bayesian()
"""Weights with a standard normal prior."""


class CaloINN(Variational, ShowerFlow):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        joint: One flow for layer energies and cells; otherwise the cells' flow follows one of the layer
            energies.
        blocks: Couplings of the cells' flow.
        hidden: Widths of its steering networks.
        spline: Its elementwise map.
        affine: Widths of the network that first takes means and widths at given conditions away (None: no
            such step).
        dropout: Dropout of its steering networks.
        energy_blocks: Couplings of the flow of the layer energies.
        energy_hidden: Widths of its steering networks.
        energy_spline: Its elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
        bayesian: Whether the weights of all networks are normally distributed.
        weights: How they are then.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        joint: bool,
        blocks: int,
        hidden: Sequence[int],
        spline: Spline,
        affine: Sequence[int] | None,
        dropout: float,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        energy_spline: Spline,
        floor: float | None,
        spread: float,
        smear: float,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
        bayesian: bool = False,
        weights: Bayesian = STANDARD,
    ) -> None:
        made = undecayed(optimizer) if bayesian else optimizer
        super().__init__(spec, given, floor, spread, smear, made, scheduler)
        distributed = weights if bayesian else None
        self.shower_flow = coupling_flow(
            *self.shower_widths(joint),
            blocks,
            spline,
            hidden,
            activation=nn.LeakyReLU if joint else nn.SiLU,
            dropout=dropout,
            affine=affine,
            bayesian=distributed,
            seed=0,
        )
        self.energy_flow = (
            None
            if joint
            else coupling_flow(
                *self.energy_widths(),
                energy_blocks,
                energy_spline,
                energy_hidden,
                affine=energy_hidden,
                bayesian=distributed,
                seed=1,
            )
        )

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """The likelihood's loss; each flow's divergence per training event is scaled as its likelihood."""
        values = super()._loss(latent, generator)
        if not self.has_posterior:
            return values
        flows = [flow for flow in (self.shower_flow, self.energy_flow) if flow is not None]
        found = [self.divergence(flow) for flow in flows]
        scaled = [value / flow.features for value, flow in zip(found, flows, strict=True)]
        total = torch.stack(found).sum().detach()
        return {
            **values,
            "loss": values["loss"] + torch.stack(scaled).sum(),
            "divergence": total,
        }
