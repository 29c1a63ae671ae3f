"""What a model of showers on cells asks of its transform, and what all such transforms share.

Which chain of maps takes cells and layer energies to a network's numbers is a part of a model like its
networks: :mod:`~simulacra.transforms.showers` and :mod:`~simulacra.transforms.layer_shares` describe the
layer energies apart from the cells, :mod:`~simulacra.transforms.whole_showers` the cells alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec, UserError
from simulacra.core.ranges import NotNegative
from simulacra.core.units import factor
from simulacra.transforms.base import Transform
from simulacra.transforms.maps.dequantise import ZeroFill


class VoxelTransform(Transform):
    """``Latent.x``: ``energies`` ``(B, N)``, numbers of the shower as a whole, ``cells`` ``(B, D)`` and, as a
    context only, ``layers`` ``(B, C)``.

    The last ``K`` of ``energies`` are the event numbers that are not given; what stands before them are
    numbers of the layer energies, where a transform has any. ``layers`` is what else cells are given: the
    energies of the layers, or else the event numbers; where there is neither it is missing.

    Args:
        spec: Grid or layers with a geometry and an incident energy.
        given: Fields that the generator is given.
        floor: Smallest resolved energy of a cell [spec.unit] (None: the readout threshold, without one a
            tenth of the public cut, without that the smallest positive cell of the training events).
        spread: Width of the noise in event numbers that are 0, in units of their logarithm.
        veto: Largest generated ``E_tot / E_inc`` (None: no limit).

    Raises:
        UserError: If ``veto`` is not positive.
    """

    measured: ClassVar[bool] = False
    """Whether it knows by how much it stretches a shower, so that an exact density has bits per dimension."""
    numbers: int
    """``N``, the width of ``energies``."""
    floor: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        floor: NotNegative | None,
        spread: NotNegative = 1.0,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(given)
        if veto is not None and veto <= 0:
            raise UserError(f"veto must be a positive E_tot / E_inc, got {veto}")
        if spec.geometry is None:
            raise ValueError(f"showers need a geometry, {spec.name} has none")
        self.spec, self.geometry, self.veto = spec, spec.geometry, veto
        self.made = tuple(
            field for field in spec.event if field.name not in {g.name for g in given}
        )
        self.energy = spec.by_role("energy")
        self.unit = factor(self.energy.unit, spec.unit)
        fixed = floor or spec.threshold or 0.1 * spec.cut
        self.find_floor = fixed == 0
        self.register_buffer("floor", torch.tensor(float(fixed)))
        self.fill = ZeroFill(spread)

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How the latent cells lie, given conditions and ``layers``."""

    @abstractmethod
    def context(self, energies: Tensor, cond: Conditions) -> Tensor | None:
        """The ``layers`` that belong to generated ``energies``: ``(B, C)``, or None where there are none."""

    def vetoed(self, energies: Tensor, cond: Conditions) -> Tensor | None:
        """Which of generated ``energies`` ``(B, N)`` hold more than the veto allows, bool ``(B,)``; None
        where they cannot or there is no veto.
        """
        return None

    def limited(self, energies: Tensor, cond: Conditions) -> Tensor:
        """Generated ``energies`` with totals that are scaled down to the veto where they lie beyond."""
        return energies

    def log_det(self, batch: Batch) -> Tensor:
        """Log-determinant ``(B,)`` from energies [spec.unit] to latent numbers, without that of filled
        zeros.

        Raises:
            UserError: If it is not known.
        """
        raise self._unmeasured()

    def log_slope(self, latent: Latent) -> Tensor:
        """Log-determinant ``(B,)`` from ``ln v`` to the latent ``cells``, without the constants of
        :meth:`log_scale`.

        Raises:
            UserError: If it is not known.
        """
        raise self._unmeasured()

    def log_scale(self) -> Tensor:
        """Sum of the logarithms of the standard deviations that cells and energies are divided by.

        Raises:
            UserError: If it is not known.
        """
        raise self._unmeasured()

    def fit_floor(self, batches: Iterable[Batch]) -> None:
        """Find the floor, where neither settings nor the data set name it."""
        if self.find_floor:
            smallest = [
                batch.x[batch.x > 0].min() for batch in batches if bool((batch.x > 0).any())
            ]
            self.floor.copy_(torch.stack(smallest).min() if smallest else torch.tensor(1.0))

    def resolved(self, batch: Batch) -> Tensor:
        """Cells ``(B, V)``, 0 below the floor."""
        x = batch.x.flatten(1)
        return torch.where(x < self.floor, 0.0, x)

    def incident(self, energy: Tensor, like: Tensor) -> Tensor:
        """Incident energies ``(B, 1)`` in the unit of the cells."""
        return energy.to(like) * self.unit

    def scale(self, cond: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Logarithms of the incident energies ``(B, 1)``, in units of the floor."""
        return torch.log(self.incident(cond[self.energy.name], like) / self.floor)

    def event_numbers(
        self, batch: Batch, like: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Logarithms of the event numbers that are made over the floor, zeros filled: ``(B, K)``."""
        columns = [
            self.fill(batch.event[field.name].to(like), self.floor, generator)
            for field in self.made
        ]
        return torch.cat([like.new_zeros(len(like), 0), *columns], dim=-1)

    def event_fields(self, numbers: Tensor) -> dict[str, Tensor]:
        """Inverse of :meth:`event_numbers`, by field."""
        parts = numbers.split([field.dim for field in self.made], dim=-1) if self.made else ()
        return {
            field.name: self.fill.inverse(part, self.floor)
            for field, part in zip(self.made, parts, strict=True)
        }

    def shower(self, x: Tensor, event: dict[str, Tensor], cond: Conditions) -> Batch:
        """Events of cells ``(B, V)``, event numbers and those of the given fields that are conditions."""
        names = {field.name for field in self.spec.conditions}
        known = {name: value for name, value in cond.values.items() if name in names}
        return Batch(x.unflatten(-1, self.spec.shape), known, event)

    def strongest(self, cells: Tensor) -> Tensor:
        """The largest value of each layer: ``(B, V)`` to ``(B, L)``."""
        if self.geometry.regular:
            return cells.unflatten(-1, (len(self.geometry), -1)).amax(-1)
        return torch.stack(
            [part.amax(-1) for part in cells.split(list(self.geometry.sizes), dim=-1)], dim=-1
        )

    def _unmeasured(self) -> UserError:
        return UserError(
            f"{type(self).__name__} takes showers to numbers whose volume is not known, so no likelihood "
            "either: take model.transform._target_=simulacra.transforms.showers.ShowerTransform"
        )
