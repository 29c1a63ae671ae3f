r"""Showers by normalising flows with an exact likelihood: what all families share but the flows themselves.

.. math:: p(x | c) = p(u | c)\; p(v | E_1 \dots E_L, c),

a flow of the layer energies and event numbers ``u`` and one of the cells ``v``
(:mod:`simulacra.transforms.showers`), or one flow of both. The loss is the negative log-likelihood. In ``bits
per dimension`` the density is that of the logarithms of all energies, which no unit and no standardisation
changes; empty entries count with the density of their fill.

A family sets ``energy_flow`` (None: one flow for both) and ``shower_flow`` after the constructor of
:class:`ShowerFlow`, with the widths that :meth:`ShowerFlow.energy_widths` and
:meth:`ShowerFlow.shower_widths` tell.

Reference: CaloFlow, arXiv:2106.05285, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Batch, Conditions, Latent, Spec
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.layer_chain import LayerChain
from simulacra.models.base import GenerativeModule, Objective
from simulacra.models.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.showers import ShowerTransform


class ShowerFlow(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    transform: ShowerTransform
    shower_flow: Flow | LayerChain
    energy_flow: Flow | None

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        floor: float | None,
        spread: float,
        smear: float,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(spec, given)
        self.transform = ShowerTransform(spec, self.given_fields, floor, spread, smear)
        self.optimizer, self.scheduler = optimizer, scheduler

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy."""
        if spec.kind not in ("layers", "grid"):
            return f"it generates cells in layers or on a grid, not events of kind '{spec.kind}'"
        if spec.geometry is None or len(spec.geometry) < 2:
            return "it needs a geometry of at least two layers"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    def energy_widths(self) -> tuple[int, int]:
        """Features and context of ``energy_flow``."""
        return self.transform.energies.mean.numel(), self.transform.conditions.width

    def shower_widths(self, joint: bool = False) -> tuple[int, int]:
        """Features and context of ``shower_flow``; ``joint``: it describes the layer energies too."""
        energies, width = self.energy_widths()
        cells, layers = self.spec.n_voxels, self.transform.layers.mean.numel()
        return (energies + cells, width) if joint else (cells, width + layers)

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, then data-dependent initialisation from the first batch."""
        super().fit_transform(batches)
        batch = next(iter(batches)).to(self.device)
        latent = self.encode(batch, torch.Generator(device=self.device).manual_seed(0))
        with self.evaluating():
            if self.energy_flow is not None:
                self.energy_flow.fit([(latent.x["energies"], latent.cond, latent.weight)])
            self.shower_flow.fit([(self.described(latent), self.context(latent), latent.weight)])
        return self

    def objectives(self) -> dict[str, Objective]:
        """One: the negative log-likelihood."""
        optim = Optim(self.optimizer, self.scheduler)
        return {"flow": Objective(self._loss, list(self.parameters()), optim)}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Layer energies, then cells."""
        scaled = self.transform.condition(cond)
        if self.energy_flow is None:
            both = self.shower_flow.sample(cond.n, scaled, generator)
            energies, cells = both.split(
                [both.shape[1] - self.spec.n_voxels, self.spec.n_voxels], dim=-1
            )
            return Latent({"energies": energies, "cells": cells}, scaled)
        energies = self.draw_energies(cond, generator)
        layers = self.transform.context(energies, cond)
        context = self.context(Latent({"layers": layers}, scaled))
        return Latent(
            {"energies": energies, "cells": self.shower_flow.sample(cond.n, context, generator)},
            scaled,
        )

    def draw_energies(self, cond: Conditions, generator: torch.Generator | None) -> Tensor:
        """Latent layer energies and event numbers ``(n, L + K)``, where a flow of their own makes them."""
        assert self.energy_flow is not None
        return self.energy_flow.sample(cond.n, self.transform.condition(cond), generator)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of layer energies, event numbers and cells, per unit of energy.

        Empty cells count with the density of their fill at its centre. Layer sums and cells are described
        both, so the numbers compare models with one transform, and are not a density of cells alone.
        """
        with self.evaluating():
            latent = self.encode(batch)
            return torch.stack(list(self.log_probs(latent).values())).sum(
                0
            ) + self.transform.log_det(batch)

    def log_probs(self, latent: Latent) -> dict[str, Tensor]:
        """Log densities ``(B,)`` of the latent numbers, by flow."""
        values = {"cells": self.shower_flow.log_prob(self.described(latent), self.context(latent))}
        if self.energy_flow is not None:
            values["energies"] = self.energy_flow.log_prob(latent.x["energies"], latent.cond)
        return values

    def described(self, latent: Latent) -> Tensor:
        """What ``shower_flow`` describes ``(B, D)``."""
        if self.energy_flow is None:
            return torch.cat([latent.x["energies"], latent.x["cells"]], dim=-1)
        return latent.x["cells"]

    def context(self, latent: Latent) -> Tensor | None:
        """What steers ``shower_flow`` ``(B, C)``."""
        if self.energy_flow is None or latent.cond is None:
            return latent.cond
        return torch.cat([latent.cond, latent.x["layers"]], dim=-1)

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Negative log-likelihood per number that a flow describes, so that its gradient is of order 1."""
        widths = {"cells": self.shower_flow.features, "energies": latent.x["energies"].shape[1]}
        parts = {
            name: -value.mean() / widths[name] for name, value in self.log_probs(latent).items()
        }
        return self.scored(parts, {name: widths[name] for name in parts})

    def scored(self, parts: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, Tensor]:
        """Loss and figures from the negative log-likelihood per number of each flow.

        Args:
            parts: Scalars by flow.
            widths: How many numbers of a shower each flow describes.
        """
        total = torch.stack(list(parts.values())).sum()
        logged = {name: value.detach() for name, value in parts.items()}
        nats = torch.stack([widths[name] * value for name, value in logged.items()]).sum()
        bits = (nats + self.transform.log_scale()) / (sum(widths.values()) * math.log(2))
        return {"loss": total, **logged, "bits_per_dim": bits}
