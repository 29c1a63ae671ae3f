r"""Showers as layer energies and logits of each cell's share in its layer.

.. math:: x_v = \mathrm{logit}\bigl(\alpha + (1 - 2 \alpha)\, v / E_l\bigr),

standardised, and the energies as numbers of :mod:`~simulacra.transforms.maps.layer_numbers`. Both logits are
rescaled, not clamped, so that they have an exact inverse. On the way back cells give a layer's shape: shares
below the cut are empty, but for the strongest of a layer that holds energy, and the layer is scaled to its
energy without leaving a cell below the floor.

Empty cells all sit at :math:`\mathrm{logit}\,\alpha`, a point mass, below the smallest hit by
:math:`\ln(1 + s / \alpha)` for a share ``s``. A network scatters around it by some hundredths of a standard
deviation, which the cut has to take away, and noise over shares in (0, ``noise``) in place of zeros, in
training, leaves it no point to hit. Hits whose share is below the cut are lost: with the floor of a
calorimeter these are the faintest of its most energetic layers, and the closure says what that costs.

References: CaloDREAM, arXiv:2405.09629, section 3; vit4hep, arXiv:2601.05289; CaloScore v2, arXiv:2308.03847.

Note:
    Cells are given logarithms of the layer energies in place of the published ``u``, one number for each
    layer at its place in the order of the layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec, UserError
from simulacra.core.ranges import Margin, NotNegative
from simulacra.transforms.base import Batches
from simulacra.transforms.maps.cell_scaling import MakeScaling
from simulacra.transforms.maps.dequantise import EmptyNoise
from simulacra.transforms.maps.elementwise import Logit, Moments, Standardise
from simulacra.transforms.maps.layer_numbers import LayerNumbers, gap
from simulacra.transforms.maps.renormalise import renormalise_layers
from simulacra.transforms.voxels import VoxelTransform


class LayerShareTransform(VoxelTransform):
    """See the module's docstring; ``layers`` are standardised logarithms of the layer energies ``(B, L)``.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        fractions: How layer energies become numbers.
        scaling: Makes the standardisation of the cells.
        alpha: Distance of the logit from its ends.
        cut: Smallest share of a hit cell.
        noise: Width of the shares that stand for empty cells in training, at most ``cut``; 0: none.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`, like ``veto``.
        veto: See ``floor``.

    Raises:
        UserError: If the noise is wider than the cut.
    """

    exact = False

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        fractions: LayerNumbers,
        scaling: MakeScaling,
        alpha: Margin,
        cut: NotNegative,
        noise: NotNegative = 0.0,
        floor: NotNegative | None = None,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, floor, veto=veto)
        if noise > cut:
            raise UserError(
                f"noise in empty cells of width {noise:g} does not end below the cut at {cut:g}: take "
                "transform.noise at most transform.cut"
            )
        self.fractions, self.logit = fractions, Logit(alpha)
        self.cut, self.noise = cut, EmptyNoise(noise)
        self.numbers = len(self.geometry) + sum(field.dim for field in self.made)
        self.energies = Standardise(self.numbers)
        self.layers = Standardise(len(self.geometry))
        self.cells = scaling(self.geometry.n_voxels)

    def fit_statistics(self, batches: Batches) -> None:
        """Floor, largest total, then means and standard deviations, with noise of a fixed seed."""
        self.fit_floor(batches)
        device = self.floor.device
        for batch in batches:
            x = self.resolved(batch.to(device))
            incident = self.incident(batch.cond[self.energy.name].to(device), x)
            self.fractions.see(self.geometry.layer_sums(x), incident)
        generator = torch.Generator(device=device).manual_seed(0)
        moments = {name: Moments() for name in ("energies", "layers", "cells")}
        for batch in batches:
            raw, hit = self._raw(batch.to(device), generator)
            for name in ("energies", "layers"):
                moments[name].add(raw[name])
            self.cells.collect(moments["cells"], raw["cells"], hit)
        self.energies.set(moments["energies"])
        self.layers.set(moments["layers"])
        self.cells.set(moments["cells"])

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`."""
        raw, _ = self._raw(batch, generator)
        x = {
            "energies": self.energies(raw["energies"]),
            "cells": self.cells(raw["cells"]),
            "layers": self.layers(raw["layers"]),
        }
        return Latent(x, self.condition(batch.conditions(self.conditions.names)))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`; what falls below cut or floor is empty."""
        layers, event = self._physical(latent.x["energies"], cond)
        logits = self.cells.inverse(latent.x["cells"])
        shares = self.logit.inverse(logits)
        # a layer that holds energy has a hit cell; NaN is not dead
        dead = (shares < self.cut) & (logits < self.geometry.spread(self.strongest(logits)))
        shape = torch.where(dead, 0.0, shares.clamp(min=1e-12))
        return self.shower(
            renormalise_layers(shape, layers, self.geometry, float(self.floor)), event, cond
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

    def vetoed(self, energies: Tensor) -> Tensor | None:
        """See :meth:`VoxelTransform.vetoed`."""
        if self.veto is None:
            return None
        return self.energies.inverse(energies)[:, 0] > self._largest(energies)

    def limited(self, energies: Tensor) -> Tensor:
        """See :meth:`VoxelTransform.limited`."""
        total, rest = self.energies.inverse(energies).split([1, self.numbers - 1], dim=-1)
        return self.energies(torch.cat([total.minimum(self._largest(total)), rest], dim=-1))

    def _largest(self, like: Tensor) -> Tensor:
        """The first number of an event at the veto."""
        assert self.veto is not None
        return self.fractions.total(like.new_tensor(self.veto))

    def _raw(
        self, batch: Batch, generator: torch.Generator | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Numbers before standardisation, and which cells are neither empty nor saturated."""
        x = self.resolved(batch)
        layers = self.geometry.layer_sums(x)
        shares = x / self.geometry.spread(torch.where(layers > 0, layers, 1.0))
        shares = torch.where(shares < self.cut, 0.0, shares.clamp(max=1))
        incident = self.incident(batch.cond[self.energy.name], x)
        numbers = self.fractions(layers, incident, self.floor, generator)
        raw = {
            "energies": torch.cat([numbers, self.event_numbers(batch, x, generator)], dim=-1),
            "cells": self.logit(self.noise(shares, generator)),
            "layers": gap(layers, self.floor),
        }
        return raw, (shares > 0) & (shares < 1)

    def _physical(self, energies: Tensor, cond: Conditions) -> tuple[Tensor, dict[str, Tensor]]:
        """Layer energies ``(B, L)`` and the event numbers in physical units."""
        raw = self.energies.inverse(energies)
        numbers, event = raw.split([len(self.geometry), self.numbers - len(self.geometry)], dim=-1)
        incident = self.incident(cond.values[self.energy.name], energies)
        return self.fractions.inverse(numbers, incident, self.floor), self.event_fields(event)
