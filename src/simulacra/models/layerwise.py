r"""Showers layer by layer: layer energies first, then the cells of one layer after the other.

.. math:: p(x | c) = p(u | c) \prod_n p(v_n | v_{n-h} \dots v_{n-1}, E_1 \dots E_L, c).

The losses of all layers add up to one negative log-likelihood, each layer given the *true* layers before it;
in sampling it sees generated ones. :meth:`LayerwiseFlow.continued` gives showers for both, whose difference
is the exposure bias. Layer energies may be vetoed where their sum is out of range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Batch, Conditions, Latent, Spec, UserError
from simulacra.dynamics.layer_chain import LayerChain
from simulacra.models.shower_flow import ShowerFlow

ROUNDS = 100
"""Rounds of new draws for vetoed energies; whatever is left then is scaled down to the limit."""


class LayerwiseFlow(ShowerFlow):
    """See the module's docstring; a family sets ``energy_flow`` and ``shower_flow``.

    Args:
        spec: Grid with an incident energy.
        given: Fields the generator is given (None: all conditions).
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        veto: Largest generated ``E_tot / E_inc``; energies beyond are drawn again (None: no limit).
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    shower_flow: LayerChain

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        floor: float | None,
        spread: float,
        smear: float,
        veto: float | None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(spec, given, floor, spread, smear, optimizer, scheduler)
        if veto is not None and veto <= 0:
            raise UserError(f"veto must be a positive E_tot / E_inc, got {veto}")
        self.veto = veto

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        if spec.kind == "layers":
            return "it needs layers of equal shape, and this data set's differ"
        return super().accepts(spec)

    def draw_energies(self, cond: Conditions, generator: torch.Generator | None) -> Tensor:
        """As in :class:`ShowerFlow`, drawn again where the veto applies."""
        energies = super().draw_energies(cond, generator)
        if self.veto is None:
            return energies
        limit = math.log(self.veto)
        for _ in range(ROUNDS):
            bad = self.transform.energies.inverse(energies)[:, 0] > limit
            if not bool(bad.any()):
                return energies
            again = super().draw_energies(cond[bad], generator)
            energies = energies.masked_scatter(bad[:, None], again)
        total, rest = self.transform.energies.inverse(energies).split(
            [1, energies.shape[1] - 1], dim=-1
        )
        return self.transform.energies(torch.cat([total.clamp(max=limit), rest], dim=-1))

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
            cells = self.shower_flow.sample(len(batch), self.context(latent), generator, truth)
            made = Latent({**latent.x, "cells": cells}, latent.cond)
            return self.decode(made, batch.conditions(self.given), generator)
