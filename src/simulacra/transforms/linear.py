r"""Images and showers for generators whose last activation makes exact zeros.

Contents :math:`x \ge 0` keep zero at zero, so that empty pixels stay empty and neither noise nor a logit is
needed; what a network makes below zero comes back as zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec
from simulacra.core.ranges import NotNegative, Positive
from simulacra.core.units import factor
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.cell_scaling import Unscaled
from simulacra.transforms.volume import LinearScale
from simulacra.transforms.whole_showers import CellValues, WholeShowerTransform


class LinearImages(Transform):
    """Images ``y = x / unit``; one latent stage ``"image"`` ``(B, *spec.shape)``.

    Args:
        spec: Images.
        given: Fields that the generator is given.
        unit: Content that becomes 1 [the data set's unit].
    """

    def __init__(self, spec: Spec, given: Sequence[Field], unit: Positive) -> None:
        super().__init__(given)
        self.scale = LinearScale(unit)

    def fit_statistics(self, batches: Batches) -> None:
        """There are none."""

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See the class."""
        given = batch.conditions(self.conditions.names)
        return Latent({"image": self.scale(batch.x.float())}, self.condition(given))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Contents in the data set's unit."""
        x: Tensor = self.scale.inverse(latent.x["image"])
        return Batch(x, cond.values)


class PlainCells(CellValues):
    """``v / unit``.

    Args:
        unit: Energy that becomes 1 [the data set's unit].
    """

    def __init__(self, unit: Positive) -> None:
        super().__init__()
        self.unit = unit

    def forward(
        self,
        x: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`CellValues.forward`."""
        return x / self.unit

    def inverse(self, y: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`CellValues.inverse`; negative numbers are empty cells."""
        return y.clamp_min(0) * self.unit


class RelativeCells(CellValues):
    """``v / (share E)`` with the incident energy, so that numbers are alike at all energies.

    Args:
        share: Share of the incident energy that becomes 1.
    """

    def __init__(self, share: Positive) -> None:
        super().__init__()
        self.share = share

    def forward(
        self,
        x: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`CellValues.forward`."""
        return x / (self.share * incident)

    def inverse(self, y: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`CellValues.inverse`; negative numbers are empty cells."""
        return y.clamp_min(0) * (self.share * incident)


class PositiveShowers(WholeShowerTransform):
    """Showers whose empty cells are zeros of the networks.

    The stage ``energies`` holds the event numbers that are not given. After the columns of all conditions
    comes one more, the incident energy over the largest one.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        values: How cells become numbers; zero must stay zero.
        floor: As in :class:`~simulacra.transforms.voxels.VoxelTransform`; what is generated below is empty.
    """

    exact = True

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        values: CellValues,
        floor: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, values, Unscaled, floor)
        self.largest = float(self.energy.high or 1.0)
        self.to_gev = factor(spec.unit, "GeV")

    @property
    def vector(self) -> Layout:
        """How the numbers of a shower lie, all of which are made at once."""
        sizes = self.geometry.sizes
        return Layout(sum(sizes), self.conditions.width, sizes, geometry=self.geometry)

    def condition(self, cond: Conditions) -> Tensor | None:
        """Given fields and, in the last column, the incident energy over the largest ``(n, C + 1)``."""
        scaled = super().condition(cond)
        energy = cond.values[self.energy.name].to(self.floor) / self.largest
        return energy if scaled is None else torch.cat([scaled, energy], dim=1)

    def incident_energy(self, cond: Tensor) -> Tensor:
        """Incident energies [GeV] ``(B, 1)`` of scaled conditions ``(B, C + 1)``."""
        return cond[:, -1:] * self.largest * self.unit * self.to_gev

    def cell_energies(self, cells: Tensor, cond: Tensor) -> Tensor:
        """Energies [GeV] ``(B, V)`` of latent cells under scaled conditions, differentiable."""
        incident = self.incident_energy(cond) / self.to_gev
        return self.values.inverse(cells, incident, self.floor) * self.to_gev
