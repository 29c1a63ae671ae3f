r"""Showers as one group of numbers, the cells, without energies of the layers.

========================  ================================================================================
values                    a cell ``v`` of a shower with incident energy ``E`` and floor ``f`` becomes
========================  ================================================================================
:class:`IncidentLogits`   :math:`\mathrm{logit}(\alpha + (1 - 2 \alpha)\, v / (k E))`
:class:`OffsetLogs`       :math:`\ln(v / f + \epsilon)`
========================  ================================================================================

standardised. What lies below the floor is empty both ways. How much energy a shower leaves is what its cells
sum to: a small error of all cells is one of the energy.

Empty cells sit at :math:`\mathrm{logit}\,\alpha` or :math:`\ln \epsilon`, a point mass whose distance from
the faintest hit, :math:`\ln(1 + f / (\alpha k E))` or :math:`\ln(1 + 1 / \epsilon)`, decides how well a
network can tell them apart: the logit's shrinks with the incident energy, the logarithm's is the same for
all.

References: CaloDiffusion, arXiv:2308.03876, section III, and CaloScore, arXiv:2206.11898, for logits;
CaloArt, arXiv:2605.12011, for logarithms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec
from simulacra.core.constructors import role
from simulacra.core.ranges import Margin, NotNegative, Positive
from simulacra.transforms.base import Batches
from simulacra.transforms.maps.cell_scaling import MakeScaling
from simulacra.transforms.maps.dequantise import EmptyNoise
from simulacra.transforms.maps.elementwise import Logit, Moments, Standardise
from simulacra.transforms.maps.layer_numbers import REACH
from simulacra.transforms.voxels import VoxelTransform


@role
class CellValues(nn.Module, ABC):
    """Cells ``(B, V)``, 0 or at least the floor, to numbers.

    Cells, incident energies ``(B, 1)`` and the floor are in one unit.
    """

    def see(self, response: Tensor) -> None:
        """Take in ``E_tot / E_inc`` of training events ``(B,)``."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Numbers ``(B, V)``; noise where training mode or a generator asks for it."""

    @abstractmethod
    def inverse(self, y: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """Cells, not yet cut."""


class IncidentLogits(CellValues):
    """Logits of ``v / (k E)``; cells beyond ``k E`` stand for ``k E``.

    Args:
        largest: ``k`` (None: 1.2 times the largest ``E_tot / E_inc`` of the training events).
        alpha: Distance of the logit from its ends.
    """

    largest: Tensor

    def __init__(self, largest: Positive | None, alpha: Margin) -> None:
        super().__init__()
        self.logit, self.fixed = Logit(alpha), largest is not None
        self.register_buffer("largest", torch.tensor(largest or 0.0))

    def see(self, response: Tensor) -> None:
        """See :meth:`CellValues.see`."""
        if not self.fixed:
            self.largest.copy_(torch.maximum(self.largest, REACH * response.max().to(self.largest)))

    def forward(
        self,
        x: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`CellValues.forward`."""
        return self.logit((x / (self.largest * incident)).clamp(max=1))

    def inverse(self, y: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`CellValues.inverse`."""
        return self.logit.inverse(y) * (self.largest * incident)


class OffsetLogs(CellValues):
    r"""``ln(v / f + eps)`` with a floor ``f``.

    Args:
        epsilon: :math:`\epsilon`, in units of the floor.
        noise: Width of the noise in empty cells in training, in units of the floor, at most 1; 0: none.
    """

    def __init__(self, epsilon: Positive, noise: NotNegative = 0.0) -> None:
        super().__init__()
        self.epsilon, self.noise = epsilon, EmptyNoise(noise)

    def forward(
        self,
        x: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`CellValues.forward`."""
        return torch.log(self.noise(x / floor, generator) + self.epsilon)

    def inverse(self, y: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`CellValues.inverse`."""
        return floor * (torch.exp(y.clamp(max=60)) - self.epsilon)


class WholeShowerTransform(VoxelTransform):
    """See the module's docstring; ``energies`` are the event numbers that are not given, often none.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        values: How cells become numbers.
        scaling: Makes their standardisation; all cells are one group.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`.
        veto: Largest generated ``E_tot / E_inc``: a shower beyond is not finite, so that sampling refuses it
            or, with ``redraw=ROUNDS``, draws it again and says how often (None: no limit).
    """

    exact = False

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        values: CellValues,
        scaling: MakeScaling,
        floor: NotNegative | None = None,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, floor, veto=veto)
        self.values = values
        self.numbers = sum(field.dim for field in self.made)
        self.energies = Standardise(self.numbers)
        self.cells = scaling([self.geometry.n_voxels])

    def fit_statistics(self, batches: Batches) -> None:
        """Floor, largest total, then means and standard deviations, with noise of a fixed seed."""
        self.fit_floor(batches)
        device = self.floor.device
        for batch in batches:
            on_device = batch.to(device)
            x = self.resolved(on_device)
            self.values.see(x.sum(-1) / self.incident(on_device.cond[self.energy.name], x)[:, 0])
        generator = torch.Generator(device=device).manual_seed(0)
        energies = Moments()
        for batch in batches:
            on_device = batch.to(device)
            raw, numbers = self._raw(on_device, generator)
            empty = self.resolved(on_device) <= 0
            self.cells.collect(raw, self.scale(on_device.cond, raw), ~empty, empty)
            energies.add(numbers)
        self.cells.settle()
        self.energies.set(energies)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`."""
        raw, numbers = self._raw(batch, generator)
        energies = self.energies(numbers)
        empty = self.resolved(batch) <= 0
        cells = self.cells(raw, self.scale(batch.cond, raw), empty, generator)
        x = {"energies": energies, "cells": cells}
        if self.numbers:
            x["layers"] = energies
        return Latent(x, self.condition(batch.conditions(self.conditions.names)))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`; what falls below the floor is empty."""
        y = self.cells.inverse(latent.x["cells"], self.scale(cond.values, latent.x["cells"]))
        incident = self.incident(cond.values[self.energy.name], y)
        x = self.values.inverse(y, incident, self.floor)
        x = torch.where(x < self.floor, 0.0, x)
        if self.veto is not None:
            x = x.masked_fill(x.sum(-1, keepdim=True) > self.veto * incident, math.nan)
        return self.shower(x, self.event_fields(self.energies.inverse(latent.x["energies"])), cond)

    @property
    def layout(self) -> Layout:
        """How the latent cells lie, given conditions and event numbers; there are no energies of layers."""
        layer = self.geometry.layers[0]
        image, periodic = (layer.shape, layer.periodic) if self.geometry.regular else (None, None)
        context = self.conditions.width + self.numbers
        return Layout(self.geometry.n_voxels, context, (), image, periodic, geometry=self.geometry)

    def context(self, energies: Tensor, cond: Conditions) -> Tensor | None:
        """The generated event numbers themselves."""
        return energies if self.numbers else None

    def _raw(self, batch: Batch, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Cells and event numbers before standardisation."""
        x = self.resolved(batch)
        incident = self.incident(batch.cond[self.energy.name], x)
        return (
            self.values(x, incident, self.floor, generator),
            self.event_numbers(batch, x, generator),
        )
