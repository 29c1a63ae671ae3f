r"""Showers as energies of the layers and numbers of the cells that give each layer's shape.

The energies are numbers of :mod:`~simulacra.transforms.maps.layer_numbers`, and what the cells are told of
them are standardised logarithms. What the numbers of the cells are is a subclass's matter: logits of their
shares in :mod:`~simulacra.transforms.layer_shares`, logarithms of their energies in
:mod:`~simulacra.transforms.layer_logs`. On the way back each layer is scaled to its energy without leaving a
cell below the floor, and a layer that holds energy has a hit cell, its strongest.

Note:
    Cells are given logarithms of the layer energies in place of the ``u`` of the published codes, one number
    for each layer at its place in the order of the layers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec
from simulacra.core.ranges import NotNegative
from simulacra.transforms.base import Batches
from simulacra.transforms.maps.cell_scaling import MakeScaling
from simulacra.transforms.maps.elementwise import Moments, Standardise
from simulacra.transforms.maps.layer_numbers import LayerNumbers, gap
from simulacra.transforms.maps.renormalise import renormalise_layers
from simulacra.transforms.voxels import VoxelTransform


class LayeredTransform(VoxelTransform):
    """See the module's docstring; ``layers`` are standardised logarithms of the layer energies ``(B, L)``.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        fractions: How layer energies become numbers.
        scaling: Makes the standardisation of the cells; their groups are the layers.
        energy_scaling: Makes that of the numbers of the shower as a whole, which are one group.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`, like ``veto``.
        veto: See ``floor``.
    """

    exact = False

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        fractions: LayerNumbers,
        scaling: MakeScaling,
        energy_scaling: MakeScaling,
        floor: NotNegative | None,
        veto: NotNegative | None,
    ) -> None:
        super().__init__(spec, given, floor, veto=veto)
        self.fractions = fractions
        self.numbers = len(self.geometry) + sum(field.dim for field in self.made)
        self.energies = energy_scaling([self.numbers])
        self.layers = Standardise(len(self.geometry))
        self.cells = scaling(self.geometry.sizes)

    @abstractmethod
    def values(
        self, x: Tensor, energies: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of the cells before they are scaled, which cells are neither empty nor saturated, and which
        are empty.

        Args:
            x: Cells ``(B, V)``, 0 or at least the floor.
            energies: Energies of the layers ``(B, L)``.
            generator: Asks for noise, where there is any, like training mode.
        """

    @abstractmethod
    def shape(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """How strong cells of a layer are among themselves ``(B, V)``, positive, from their numbers, and
        which are empty.
        """

    def fit_statistics(self, batches: Batches) -> None:
        """Floor, largest total, then means and standard deviations, with noise of a fixed seed."""
        self.fit_floor(batches)
        device = self.floor.device
        for batch in batches:
            x = self.resolved(batch.to(device))
            incident = self.incident(batch.cond[self.energy.name].to(device), x)
            self.fractions.see(self.geometry.layer_sums(x), incident)
        generator = torch.Generator(device=device).manual_seed(0)
        layers = Moments()
        for batch in batches:
            on_device = batch.to(device)
            raw, hit, empty = self._raw(on_device, generator)
            layers.add(raw["layers"])
            self.cells.collect(raw["cells"], raw["layers"], hit, empty)
            scale = self.scale(on_device.cond, raw["energies"])
            dead = self._dead(raw["energies"], on_device)
            self.energies.collect(raw["energies"], scale, ~dead, dead)
        self.layers.set(layers)
        self.cells.settle()
        self.energies.settle()

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`."""
        raw, _, empty = self._raw(batch, generator)
        scale = self.scale(batch.cond, raw["energies"])
        x = {
            "energies": self.energies(
                raw["energies"], scale, self._dead(raw["energies"], batch), generator
            ),
            "cells": self.cells(raw["cells"], raw["layers"], empty, generator),
            "layers": self.layers(raw["layers"]),
        }
        return Latent(x, self.condition(batch.conditions(self.conditions.names)))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`; what falls below the floor is empty."""
        energies, event = self._physical(latent.x["energies"], cond)
        y = self.cells.inverse(latent.x["cells"], gap(energies, self.floor))
        shape, empty = self.shape(y)
        # NaN is not empty
        empty = empty & (y < self.geometry.spread(self.strongest(y)))
        return self.shower(
            renormalise_layers(
                torch.where(empty, 0.0, shape), energies, self.geometry, float(self.floor)
            ),
            event,
            cond,
        )

    @property
    def layout(self) -> Layout:
        """How the latent cells lie, given conditions and the energies of the layers."""
        sizes, layer = self.geometry.sizes, self.geometry.layers[0]
        image, periodic = (layer.shape, layer.periodic) if self.geometry.regular else (None, None)
        context = self.conditions.width + len(sizes)
        return Layout(sum(sizes), context, sizes, image, periodic, geometry=self.geometry)

    def context(self, energies: Tensor, cond: Conditions) -> Tensor | None:
        """The ``layers`` that belong to generated ``energies``: ``(B, L)``."""
        return self.layers(gap(self._physical(energies, cond)[0], self.floor))

    def vetoed(self, energies: Tensor, cond: Conditions) -> Tensor | None:
        """See :meth:`VoxelTransform.vetoed`."""
        if self.veto is None:
            return None
        scale = self.scale(cond.values, energies)
        return self.energies.inverse(energies, scale)[:, 0] > self._largest(energies)

    def limited(self, energies: Tensor, cond: Conditions) -> Tensor:
        """See :meth:`VoxelTransform.limited`."""
        scale = self.scale(cond.values, energies)
        total, rest = self.energies.inverse(energies, scale).split([1, self.numbers - 1], dim=-1)
        less = torch.cat([total.minimum(self._largest(total)), rest], dim=-1)
        found = self.energies(less, scale, torch.zeros_like(less, dtype=torch.bool))
        return torch.cat([found[:, :1], energies[:, 1:]], dim=-1)

    def _largest(self, like: Tensor) -> Tensor:
        """The first number of an event at the veto."""
        assert self.veto is not None
        return self.fractions.total(like.new_tensor(self.veto))

    def _dead(self, numbers: Tensor, batch: Batch) -> Tensor:
        """Which numbers of the showers as a whole ``(B, N)`` stand for layers without energy."""
        dead = self.fractions.dead(self.geometry.layer_sums(self.resolved(batch)), self.floor)
        event = torch.zeros_like(numbers[:, dead.shape[1] :], dtype=torch.bool)
        return torch.cat([dead, event], dim=-1)

    def _raw(
        self, batch: Batch, generator: torch.Generator | None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Numbers before standardisation, which cells are neither empty nor saturated, and which empty."""
        x = self.resolved(batch)
        energies = self.geometry.layer_sums(x)
        incident = self.incident(batch.cond[self.energy.name], x)
        numbers = self.fractions(energies, incident, self.floor, generator)
        event = self.event_numbers(batch, x, generator)
        cells, hit, empty = self.values(x, energies, generator)
        raw = {
            "energies": torch.cat([numbers, event], dim=-1),
            "cells": cells,
            "layers": gap(energies, self.floor),
        }
        return raw, hit, empty

    def _physical(self, energies: Tensor, cond: Conditions) -> tuple[Tensor, dict[str, Tensor]]:
        """Layer energies ``(B, L)`` and the event numbers in physical units."""
        raw = self.energies.inverse(energies, self.scale(cond.values, energies))
        numbers, event = raw.split([len(self.geometry), self.numbers - len(self.geometry)], dim=-1)
        incident = self.incident(cond.values[self.energy.name], energies)
        return self.fractions.inverse(numbers, incident, self.floor), self.event_fields(event)
