r"""Showers as parts of parts, for generators that make all of them at once.

A cell ``v`` of layer ``l`` in a shower of energy :math:`E` from a particle of energy :math:`E_{inc}` becomes

.. math:: v / E_l, \qquad E_l / E, \qquad E / E_{inc},

the shares of the cells layer by layer, then those of the layers, then the response: ``V + L + 1`` numbers.
In a layer without energy, and among the layers of an empty shower, all shares are alike.

Reference: CaloShowerGAN, arXiv:2309.06515.

Note:
    A reading of the paper and of public code by its authors, where empty cells hold 0.1 keV before cells are
    divided by their sum; here they stay empty, so that showers come back as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec
from simulacra.core.ranges import NotNegative
from simulacra.transforms.linear import PositiveShowers, RelativeCells


class PartedShowers(PositiveShowers):
    """See the module's docstring; the stage ``cells`` is ``(B, V + L + 1)``.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`; what is generated below is empty.
    """

    def __init__(
        self, spec: Spec, given: Sequence[Field], floor: NotNegative | None = None
    ) -> None:
        super().__init__(spec, given, RelativeCells(share=1.0), floor)

    @property
    def vector(self) -> Layout:
        """See :attr:`PositiveShowers.vector`."""
        plain = super().vector
        return Layout(plain.features + len(plain.layers) + 1, plain.context, plain.layers)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`."""
        latent = super().forward(batch, generator)
        return Latent({**latent.x, "cells": self.parted(latent.x["cells"])}, latent.cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`."""
        whole = {**latent.x, "cells": self.joined(latent.x["cells"])}
        return super().inverse(Latent(whole, latent.cond), cond, generator)

    def cell_energies(self, cells: Tensor, cond: Tensor) -> Tensor:
        """See :meth:`PositiveShowers.cell_energies`."""
        return super().cell_energies(self.joined(cells), cond)

    def parted(self, cells: Tensor) -> Tensor:
        """Cells over the incident energy ``(B, V)`` to parts ``(B, V + L + 1)``."""
        layers = self.geometry.layer_sums(cells)
        total = layers.sum(1, keepdim=True)
        sizes = layers.new_tensor(self.geometry.sizes)
        shares = torch.where(
            self.geometry.spread(layers) > 0,
            cells / self.geometry.spread(torch.where(layers > 0, layers, 1.0)),
            self.geometry.spread((1 / sizes).expand_as(layers)),
        )
        fractions = torch.where(
            total > 0, layers / torch.where(total > 0, total, 1.0), 1 / len(sizes)
        )
        return torch.cat([shares, fractions, total], dim=1)

    def joined(self, parts: Tensor) -> Tensor:
        """Inverse of :meth:`parted`."""
        count = len(self.geometry)
        shares, fractions, total = parts.split([parts.shape[1] - count - 1, count, 1], dim=1)
        return shares * self.geometry.spread(fractions * total)
