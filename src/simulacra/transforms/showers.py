r"""Showers as two groups of unbounded numbers: how much energy each layer holds, and each cell's energy.

A cell ``v`` becomes :math:`y = \ln(v / f)`, with a floor ``f`` below which nothing is resolved; empty cells
become noise below 0 (:class:`~simulacra.transforms.maps.dequantise.ZeroFill`), so that the sign
of ``y`` says whether a cell is hit and cutting at the floor is exact. The boundary lies at the same ``y``
for every cell and incident energy. Layer sums, filled in the same way, become :math:`\ln(E_{tot} /
E_{inc})` and the logits of the fractions u_l. On the way back the cells give each layer's shape only: it is
scaled to its energy without leaving a cell below the floor.

The scale of a layer is thus a freedom of the cells. Left alone it ties them to the layer energies by an exact
relation, on which a density diverges; in training a factor ``exp(smear n)`` per layer, reflected at the
floor, removes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec, draws
from simulacra.core.ranges import NotNegative
from simulacra.transforms.base import Batches
from simulacra.transforms.maps.elementwise import Moments, Standardise
from simulacra.transforms.maps.fractions import LogEnergyFractions
from simulacra.transforms.maps.renormalise import renormalise, renormalise_layers
from simulacra.transforms.voxels import VoxelTransform


class ShowerTransform(VoxelTransform):
    """``Latent.x``: ``energies`` ``(B, L + K)``, ``cells`` ``(B, V)`` and, as a context only, ``layers``
    ``(B, L)``.

    ``energies`` are log fractions of the layers, then logarithms of the ``K`` event numbers that are not
    given; ``layers`` are the logarithms of the layer energies.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`.
        spread: Width of the noise in empty cells, in units of ``ln v``.
        smear: Width of the noise on each layer's scale, in units of ``ln v``.
        veto: Largest generated ``E_tot / E_inc``; energies beyond are drawn again (None: no limit).
    """

    measured = True

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        floor: NotNegative | None = None,
        spread: NotNegative = 1.0,
        smear: NotNegative = 0.05,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, floor, spread, veto)
        self.smear = smear
        self.fractions = LogEnergyFractions()
        self.numbers = len(self.geometry) + sum(field.dim for field in self.made)
        self.energies = Standardise(self.numbers)
        self.layers = Standardise(len(self.geometry))
        self.cells = Standardise(self.geometry.n_voxels)

    def fit_statistics(self, batches: Batches) -> None:
        """Floor, then means and standard deviations, with noise of a fixed seed."""
        self.fit_floor(batches)
        generator = torch.Generator(device=self.floor.device).manual_seed(0)
        moments = {name: Moments() for name in ("energies", "layers", "cells")}
        for batch in batches:
            for name, value in self._raw(batch.to(self.floor.device), generator).items():
                moments[name].add(value)
        for name, item in (
            ("energies", self.energies),
            ("layers", self.layers),
            ("cells", self.cells),
        ):
            item.set(moments[name])

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`Transform`."""
        raw = self._raw(batch, generator)
        x = {
            "energies": self.energies(raw["energies"]),
            "cells": self.cells(raw["cells"]),
            "layers": self.layers(raw["layers"]),
        }
        return Latent(x, self.condition(batch.conditions(self.conditions.names)))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`Transform`; what falls below the floor is empty."""
        layers, event = self._physical(latent.x["energies"], cond)
        cells = self.cells.inverse(latent.x["cells"])
        energies = self.fill.inverse(layers, self.floor)
        spread = self.geometry.spread
        shape = _shape(cells, spread(layers), spread(self.strongest(cells)))
        x = renormalise_layers(shape, energies, self.geometry, float(self.floor))
        return self.shower(x, event, cond)

    @property
    def layout(self) -> Layout:
        """How the latent cells lie, given conditions and the energies of the layers."""
        sizes, layer = self.geometry.sizes, self.geometry.layers[0]
        image, periodic = (layer.shape, layer.periodic) if self.geometry.regular else (None, None)
        context = self.conditions.width + len(sizes)
        return Layout(sum(sizes), context, sizes, image, periodic, self.seen, self.geometry)

    def vetoed(self, energies: Tensor, cond: Conditions) -> Tensor | None:
        """See :meth:`VoxelTransform.vetoed`."""
        if self.veto is None:
            return None
        return self.energies.inverse(energies)[:, 0] > math.log(self.veto)

    def limited(self, energies: Tensor, cond: Conditions) -> Tensor:
        """See :meth:`VoxelTransform.limited`."""
        whole = self.energies.inverse(energies)
        total, rest = whole.split([1, whole.shape[1] - 1], dim=-1)
        limit = math.log(self.veto or math.inf)
        return self.energies(torch.cat([total.clamp(max=limit), rest], dim=-1))

    def seen(self, n: int, x: Tensor, context: Tensor) -> Tensor:
        """Latent cells of a generated layer ``n`` ``(B, V)`` scaled to its energy and cut, as decoding leaves
        them; ``context`` ends in the ``layers`` of the shower.
        """
        sizes = list(self.geometry.sizes)
        mean, std = (value.split(sizes)[n] for value in (self.cells.mean, self.cells.std))
        energies = self.layers.inverse(context[:, -len(self.geometry) :])
        return (self.decoded(x * std + mean, energies[:, n : n + 1]) - mean) / std

    def context(self, energies: Tensor, cond: Conditions) -> Tensor:
        """The ``layers`` that belong to generated ``energies``: ``(B, L)``."""
        return self.layers(self._physical(energies, cond)[0])

    def decoded(self, cells: Tensor, layer: Tensor) -> Tensor:
        """Cells of one layer as decoding leaves them, on the scale ``ln(v / floor)``.

        Args:
            cells: ``ln(v / floor)`` as generated ``(B, V)``.
            layer: ``ln(E / floor)`` of the layer ``(B, 1)``.

        Returns:
            Cells that sum to ``E``; one that ends below the floor is at the centre of an empty cell's fill,
            one that was empty stays as it is.
        """
        shape = _shape(cells, layer, cells.amax(-1, keepdim=True))
        energy = self.fill.inverse(layer, self.floor)[:, 0]
        x = renormalise(shape, energy, float(self.floor))
        empty = torch.where(cells < 0, cells, -self.fill.spread * self.fill.centre)
        return torch.where(x <= 0, empty, torch.log(x.clamp(min=self.floor) / self.floor))

    def log_det(self, batch: Batch) -> Tensor:
        """Log-determinant ``(B,)`` from energies [spec.unit] to latent numbers, without that of filled
        zeros.
        """
        x = batch.x.flatten(1)
        numbers = [
            x,
            self.geometry.layer_sums(x),
            *(batch.event[field.name] for field in self.made),
        ]
        logs = [
            torch.where(v >= self.floor, -torch.log(v.clamp(min=1e-30)), 0.0).sum(-1)
            for v in numbers
        ]
        return torch.stack(logs).sum(0) - self.log_scale()

    def log_slope(self, latent: Latent) -> Tensor:
        """Log-determinant ``(B,)`` from ``ln v`` to the latent ``cells``, without the constants of
        :meth:`log_scale`.
        """
        return latent.x["cells"].new_zeros(len(latent))

    def log_scale(self) -> Tensor:
        """Sum of the logarithms of the standard deviations that cells and energies are divided by."""
        return self.cells.log_scale() + self.energies.log_scale()

    def _raw(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        x = self.resolved(batch)
        noisy = self.training or generator is not None
        cells = self.fill(x, self.floor, generator)
        layers = self.fill(self.geometry.layer_sums(x), self.floor, generator)
        if noisy and self.smear > 0:
            shift = draws.normal(layers.shape, x, generator)
            cells = torch.where(
                cells < 0, cells, (cells + self.geometry.spread(self.smear * shift)).abs()
            )
        start = torch.log(self.incident(batch.cond[self.energy.name], x) / self.floor)
        event = self.event_numbers(batch, x, generator)
        return {
            "energies": torch.cat([self.fractions(layers - start), event], dim=-1),
            "cells": cells,
            "layers": layers,
        }

    def _physical(self, energies: Tensor, cond: Conditions) -> tuple[Tensor, dict[str, Tensor]]:
        """``ln(E_l / floor)`` ``(B, L)`` and the event numbers in physical units."""
        energies = self.energies.inverse(energies)
        start = torch.log(self.incident(cond.values[self.energy.name], energies) / self.floor)
        fractions, event = energies.split(
            [len(self.geometry), self.numbers - len(self.geometry)], -1
        )
        return self.fractions.inverse(fractions) + start, self.event_fields(event)


def _shape(cells: Tensor, layer: Tensor, strongest: Tensor) -> Tensor:
    """Energies of cells relative to that of their layer, from ``ln(v / floor)`` of both."""
    dead = (cells < 0) & (
        cells < strongest
    )  # a layer that holds energy has a hit cell; NaN is not dead
    # relative to the layer's energy, so that exp stays in range for any generated number
    return torch.where(dead, 0.0, torch.exp((cells - layer).clamp(-60, 60)))
