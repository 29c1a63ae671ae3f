r"""Showers as layer energies and logarithms of each cell's energy.

.. math:: x_v = \ln(v / f + \epsilon)

with the floor ``f``, scaled. What else a shower is, and the way back, is in
:mod:`~simulacra.transforms.layered`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Field, Spec
from simulacra.core.ranges import NotNegative
from simulacra.transforms.layered import LayeredTransform
from simulacra.transforms.maps.cell_scaling import MakeScaling
from simulacra.transforms.maps.layer_numbers import LayerNumbers
from simulacra.transforms.whole_showers import OffsetLogs


class LayerLogTransform(LayeredTransform):
    """See the module's docstring.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        fractions: How layer energies become numbers.
        scaling: Makes the standardisation of the cells.
        energy_scaling: Makes that of layer energies and event numbers.
        logs: How cells become numbers.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`, like ``veto``.
        veto: See ``floor``.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        fractions: LayerNumbers,
        scaling: MakeScaling,
        energy_scaling: MakeScaling,
        logs: OffsetLogs,
        floor: NotNegative | None = None,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, fractions, scaling, energy_scaling, floor, veto)
        self.logs = logs

    def values(
        self, x: Tensor, energies: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`LayeredTransform.values`; no cell is saturated."""
        empty = x <= 0
        return self.logs(x, energies, self.floor, generator), ~empty, empty

    def shape(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`LayeredTransform.shape`."""
        x = self.logs.inverse(y, y, self.floor)
        return x.clamp(min=1e-12 * self.floor), x < self.floor
