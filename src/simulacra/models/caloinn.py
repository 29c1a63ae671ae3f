r"""CaloINN: exact-likelihood coupling flow of calorimeter showers.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition. The flow is a stack of ActNorm, fixed permutation and
rational-quadratic spline coupling, trained by its negative log-likelihood. With ``joint`` one flow holds
layer energies and cells, as published; otherwise

.. math:: p(x | c) = p(u | c)\; p(v | E_1 \dots E_L, c),

a small flow of the layer energies and a large one of the cells (:mod:`simulacra.transforms.showers`).

Reference: Ernst et al., arXiv:2312.09290; code heidelberg-hepml/CaloINN.

Note:
    Differs from the reference: logarithms relative to a floor, empty cells filled below it and noise on each
    layer's scale, in place of uniform noise and ``log(x + 1e-8)``; fractions u as logits; layers scaled back
    without leaving a cell below the floor; permutations alternate between a shuffle and a swap of the halves;
    ActNorm is initialised from training events before training. The published sizes (joint, 12 blocks, 10
    bins, four linear layers of 256) have 18.8 M parameters for 368 cells in 5 layers and 26.6 M for 533 in 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Batch, Conditions, Latent, Spec
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.splines import Spline
from simulacra.models.base import GenerativeModule, Objective
from simulacra.transforms.base import Batches
from simulacra.transforms.showers import ENERGY, ShowerTransform


class CaloINN(GenerativeModule):
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
    """

    transform: ShowerTransform

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
    ) -> None:
        super().__init__(spec, given)
        self.transform = ShowerTransform(spec, self.given_fields, floor, spread, smear)
        self.joint, self.optimizer, self.scheduler = joint, optimizer, scheduler
        width = self.transform.scaling.width
        energies, cells = self.transform.energies.mean.numel(), self.transform.cells.mean.numel()
        layers = self.transform.layers.mean.numel()
        features, context = (energies + cells, width) if joint else (cells, width + layers)
        act = nn.LeakyReLU if joint else nn.SiLU
        self.shower_flow = coupling_flow(
            features,
            context,
            blocks,
            spline,
            hidden,
            activation=act,
            dropout=dropout,
            affine=affine,
            seed=0,
        )
        self.energy_flow = (
            None
            if joint
            else coupling_flow(
                energies,
                width,
                energy_blocks,
                energy_spline,
                energy_hidden,
                affine=energy_hidden,
                seed=1,
            )
        )

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy."""
        if spec.kind not in ("layers", "grid"):
            return f"it generates cells in layers or on a grid, not events of kind '{spec.kind}'"
        if spec.geometry is None or len(spec.geometry) < 2:
            return "it needs a geometry of at least two layers"
        if ENERGY not in {field.name for field in spec.conditions}:
            return f"it needs the condition '{ENERGY}'"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, then the ActNorms from the first batch."""
        super().fit_transform(batches)
        batch = next(iter(batches)).to(self.device)
        latent = self.encode(batch, torch.Generator(device=self.device).manual_seed(0))
        with self.evaluating():
            if self.energy_flow is not None:
                self.energy_flow.initialise(latent.x["energies"], latent.cond)
            self.shower_flow.initialise(self._shower(latent), self._context(latent))
        return self

    def objectives(self) -> dict[str, Objective]:
        """One: the negative log-likelihood."""
        return {
            "flow": Objective(self._loss, list(self.parameters()), self.optimizer, self.scheduler)
        }

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Layer energies, then cells."""
        scaled = self.transform.condition(cond)
        if self.energy_flow is None:
            both = self.shower_flow.sample(cond.n, scaled, generator)
            energies, cells = both.split(
                [both.shape[1] - self.spec.n_voxels, self.spec.n_voxels], dim=-1
            )
            return Latent({"energies": energies, "cells": cells}, scaled)
        energies = self.energy_flow.sample(cond.n, scaled, generator)
        layers = self.transform.context(energies, cond)
        context = self._context(Latent({"layers": layers}, scaled))
        return Latent(
            {"energies": energies, "cells": self.shower_flow.sample(cond.n, context, generator)},
            scaled,
        )

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of layer energies, event numbers and cells, per unit of energy.

        Empty cells count with the density of their fill at its centre. Layer sums and cells are described
        both, so the numbers compare models with one transform, and are not a density of cells alone.
        """
        with self.evaluating():
            latent = self.encode(batch)
            return torch.stack(list(self._log_probs(latent).values())).sum(
                0
            ) + self.transform.log_det(batch)

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Negative log-likelihood per number that a flow describes, so that its gradient is of order 1."""
        widths = {"cells": self.shower_flow.features, "energies": latent.x["energies"].shape[1]}
        parts = {
            name: -value.mean() / widths[name] for name, value in self._log_probs(latent).items()
        }
        total = torch.stack(list(parts.values())).sum()
        return {"loss": total, **{name: value.detach() for name, value in parts.items()}}

    def _log_probs(self, latent: Latent) -> dict[str, Tensor]:
        values = {"cells": self.shower_flow.log_prob(self._shower(latent), self._context(latent))}
        if self.energy_flow is not None:
            values["energies"] = self.energy_flow.log_prob(latent.x["energies"], latent.cond)
        return values

    def _shower(self, latent: Latent) -> Tensor:
        """What the large flow describes ``(B, D)``."""
        if self.joint:
            return torch.cat([latent.x["energies"], latent.x["cells"]], dim=-1)
        return latent.x["cells"]

    def _context(self, latent: Latent) -> Tensor | None:
        if self.joint or latent.cond is None:
            return latent.cond
        return torch.cat([latent.cond, latent.x["layers"]], dim=-1)
