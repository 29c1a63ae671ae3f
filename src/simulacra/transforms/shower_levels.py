r"""Showers as layer energies and cells that are levels, for densities of whole numbers.

A layer of energy :math:`E_l` has cells between the floor ``f`` and :math:`E_l`, so these are the ends of the
levels of its cells (:mod:`simulacra.transforms.maps.levels`): nothing lies beyond, an empty cell is exactly
one below the floor at every energy, and the levels of a faint layer are finer. Layer energies and event
numbers are those of :mod:`simulacra.transforms.showers`, and each layer is scaled to its energy on the way
back, so that levels blur the cells but not the totals.

Levels lose where in a level a cell lies. What that costs, the closure, is judged beside the generated
showers and limits what any density of these levels can reach: look at it before a long training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Levels, Spec
from simulacra.core.ranges import Count, NotNegative
from simulacra.transforms.base import Batches
from simulacra.transforms.maps.elementwise import Moments, Streamed
from simulacra.transforms.maps.levels import LogLevels
from simulacra.transforms.showers import ShowerTransform

LEAST = math.log(2.0)
"""Smallest :math:`G`: a layer that holds little more than the floor has levels up to twice that."""


class Unscaled(Streamed):
    """Leaves numbers as they are."""

    def set(self, moments: Moments) -> None:
        """There are no statistics."""

    def log_scale(self) -> Tensor:
        """0, the logarithm of 1."""
        return torch.zeros(())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x``."""
        return x

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """``y``."""
        return y


class ShowerLevels(ShowerTransform):
    """See the module's docstring; ``cells`` ``(B, V)`` are levels, whole numbers from 0 to ``levels - 1``.

    A layer that should hold energy and has no cell above level 0 holds it where most training showers have a
    hit.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        levels: Levels of a cell, with that of an empty one.
        floor: As in :class:`~simulacra.transforms.showers.ShowerTransform`, like ``spread`` and ``veto``.
        spread: See ``floor``.
        veto: See ``floor``.
    """

    exact = False
    occupancy: Tensor
    cells: Unscaled  # type: ignore[assignment]  # both are Streamed, which is all that the base uses

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        levels: Count,
        floor: NotNegative | None = None,
        spread: NotNegative = 1.0,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, floor, spread, smear=0.0, veto=veto)
        self.levels = LogLevels(levels)
        self.cells = Unscaled()
        self.register_buffer("occupancy", torch.zeros(self.geometry.n_voxels))

    def fit_statistics(self, batches: Batches) -> None:
        """Those of the base, and how often each cell is hit."""
        super().fit_statistics(batches)
        hits = Moments()
        for batch in batches:
            hits.add((self.resolved(batch.to(self.floor.device)) > 0).float())
        self.occupancy.copy_(hits.result()[0])

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`."""
        latent = super().forward(batch, generator)
        cells = self.levels(latent.x["cells"], self.geometry.spread(self._reach(latent)))
        return Latent({**latent.x, "cells": cells}, latent.cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`; within its level a cell is drawn."""
        layers, _ = self._physical(latent.x["energies"], cond)
        level = latent.x["cells"]
        log = self.levels.inverse(level, self.geometry.spread(layers.clamp(min=LEAST)), generator)
        log = torch.where(level <= 0, self.occupancy - 2, log)
        return super().inverse(Latent({**latent.x, "cells": log}, latent.cond), cond, generator)

    @property
    def layout(self) -> Layout:
        """How the levels lie, given conditions and the energies of the layers."""
        sizes = self.geometry.sizes
        context = self.conditions.width + len(sizes)
        levels = Levels(self.levels.count, self.reach)
        return Layout(sum(sizes), context, sizes, geometry=self.geometry, levels=levels)

    def reach(self, context: Tensor | None, n: int) -> Tensor:
        """``ln(E_l / f)`` ``(B, L)``, from contexts that end in the ``layers`` of the showers."""
        assert context is not None
        return self.layers.inverse(context[:, -len(self.geometry) :]).clamp(min=LEAST)

    def log_slope(self, latent: Latent) -> Tensor:
        """See :meth:`VoxelTransform.log_slope`; empty cells count with their probability."""
        reach = self.geometry.spread(self._reach(latent))
        return self.levels.log_slope(latent.x["cells"], reach).sum(-1)

    def _reach(self, latent: Latent) -> Tensor:
        return self.reach(latent.x["layers"], len(latent))
