r"""Showers as layer energies and logits of each cell's share in its layer.

.. math:: x_v = \mathrm{logit}\bigl(\alpha + (1 - 2 \alpha)\, v / E_l\bigr),

scaled; what else a shower is, and the way back, is in :mod:`~simulacra.transforms.layered`. The logit is
rescaled, not clamped, so that it has an exact inverse; generated shares below the cut are empty.

Empty cells all sit at :math:`\mathrm{logit}\,\alpha`, a point mass, below the smallest hit by
:math:`\ln(1 + s / \alpha)` for a share ``s``. A network scatters around it by some hundredths of a standard
deviation, which the cut has to take away, and noise over shares in (0, ``noise``) in place of zeros, in
training, leaves it no point to hit. Hits whose share is below the cut are lost: with the floor of a
calorimeter these are the faintest of its most energetic layers, and the closure says what that costs.

References: CaloDREAM, arXiv:2405.09629, section 3; vit4hep, arXiv:2601.05289; CaloScore v2, arXiv:2308.03847.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from simulacra.core import Field, Spec, UserError
from simulacra.core.ranges import Margin, NotNegative
from simulacra.transforms.layered import LayeredTransform
from simulacra.transforms.maps.cell_scaling import EachCell, MakeScaling
from simulacra.transforms.maps.dequantise import EmptyNoise
from simulacra.transforms.maps.elementwise import Logit
from simulacra.transforms.maps.layer_numbers import LayerNumbers

EACH = partial(EachCell, least=1e-6)
"""Each number by itself."""


class LayerShareTransform(LayeredTransform):
    """See the module's docstring.

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
        energy_scaling: Makes the standardisation of layer energies and event numbers.

    Raises:
        UserError: If the noise is wider than the cut.
    """

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
        energy_scaling: MakeScaling = EACH,
    ) -> None:
        super().__init__(spec, given, fractions, scaling, energy_scaling, floor, veto)
        if noise > cut:
            raise UserError(
                f"noise in empty cells of width {noise:g} does not end below the cut at {cut:g}: take "
                "transform.noise at most transform.cut"
            )
        self.logit, self.cut, self.noise = Logit(alpha), cut, EmptyNoise(noise)

    def values(
        self, x: Tensor, energies: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`LayeredTransform.values`; shares below the cut are empty, a share of 1 is saturated."""
        shares = x / self.geometry.spread(torch.where(energies > 0, energies, 1.0))
        shares = torch.where(shares < self.cut, 0.0, shares.clamp(max=1))
        empty = shares <= 0
        return self.logit(self.noise(shares, generator)), ~empty & (shares < 1), empty

    def shape(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`LayeredTransform.shape`."""
        shares = self.logit.inverse(y)
        return shares.clamp(min=1e-12), shares < self.cut
