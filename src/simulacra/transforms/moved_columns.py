r"""Tables whose columns are moved: lengths stay lengths.

A column is :math:`u = (y - \bar y) / s`, with :math:`y` its value, or the logarithm of it where it spans
decades, and the standard deviation :math:`s`, so that the distance of two rows is taken in standard
deviations; or one :math:`s` for all columns, the root of the mean of all variances, where they are of one
unit. Whole numbers are spread evenly over their interval in training and rounded on the way back. Classes and
periodic columns have no order in which they could be moved: they stay as they are, like any other column that
is named, and what is moved is given them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import (
    Batch,
    Conditions,
    Field,
    IncompatibleError,
    Latent,
    Spec,
    UserError,
    draws,
)
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.condition import ConditionScaling
from simulacra.transforms.maps.elementwise import Moments, Standardise

MOVED, STAYING = "moved", "staying"


class MovedColumns(Transform):
    """See the module's docstring. The latent stage ``moved`` is ``(B, D)``, ``staying`` the physical values
    of the columns that stay ``(B, K)``; the context are the given fields, then these.

    Args:
        spec: A table.
        given: Fields that the module is given.
        stays: Names of the columns that stay beside classes and periodic ones.
        common: Whether all columns are divided by one number.

    Raises:
        UserError: If a name is none of a column.
        IncompatibleError: If no column is left.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field] = (),
        stays: Sequence[str] = (),
        common: bool = False,
    ) -> None:
        super().__init__(given)
        names = [field.name for field in spec.features]
        strange = [name for name in stays if name not in names]
        if strange:
            raise UserError(
                f"columns that stay are some of {', '.join(names)}, got {', '.join(strange)}"
            )
        kept = [
            field.name in stays or field.periodic or field.classes is not None
            for field in spec.features
        ]
        self.moving = [i for i, stay in enumerate(kept) if not stay]
        self.resting = [i for i, stay in enumerate(kept) if stay]
        if not self.moving:
            raise IncompatibleError(f"no column of {spec.name} is left that could be moved")
        fields = [spec.features[i] for i in self.moving]
        self.staying = ConditionScaling([spec.features[i] for i in self.resting])
        self.width, self.common = len(fields), common
        self.scaling = Standardise(self.width)
        self.log = [i for i, field in enumerate(fields) if field.log]
        self.whole = [i for i, field in enumerate(fields) if field.integer]
        infinity = float("inf")
        low = [-infinity if field.low is None else field.low for field in fields]
        high = [infinity if field.high is None else field.high for field in fields]
        self.register_buffer("low", torch.tensor(low), persistent=False)
        self.register_buffer("high", torch.tensor(high), persistent=False)

    @property
    def context(self) -> int:
        """Width of the context."""
        return self.conditions.width + self.staying.width

    def fit_statistics(self, batches: Batches) -> None:
        """Means and standard deviations, and the scaling of the columns that stay."""
        self.staying.fit([Batch(batch.x, self._resting(batch)) for batch in batches])
        moments = Moments()
        for batch in batches:
            moments.add(self._raw(batch, None))
        self.scaling.set(moments)
        if self.common:
            std = self.scaling.std
            std.copy_(std.square().mean().sqrt().expand_as(std))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :meth:`~simulacra.transforms.base.Transform.forward`."""
        x = {
            MOVED: self.scaling(self._raw(batch, generator)),
            STAYING: batch.x[:, self.resting],
        }
        given = self.condition(batch.conditions(self.conditions.names))
        staying = self.staying(Conditions(len(batch), self._resting(batch)))
        parts = [part for part in (given, staying) if part is not None]
        return Latent(x, torch.cat(parts, 1) if parts else None)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :meth:`~simulacra.transforms.base.Transform.inverse`; values outside of the bounds of their
        column are at the bound.
        """
        y = self.scaling.inverse(latent.x[MOVED])
        y = y.index_copy(1, self._index(self.log, y), y[:, self.log].clamp_max(80.0).exp())
        y = y.index_copy(1, self._index(self.whole, y), y[:, self.whole].round())
        x = y.new_zeros(len(y), len(self.moving) + len(self.resting))
        x[:, self.moving] = y.clamp(self.low, self.high)
        x[:, self.resting] = latent.x[STAYING]
        return Batch(x, dict(cond.values))

    def _raw(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """Values or logarithms ``(B, D)`` of the columns that move."""
        y = batch.x[:, self.moving]
        if self.whole and (self.training or generator is not None):
            noise = draws.uniform((len(y), len(self.whole)), y, generator) - 0.5
            y = y.index_add(1, self._index(self.whole, y), noise)
        lowest = self.low[self.log].clamp_min(torch.finfo(torch.float32).tiny)
        logs = y[:, self.log].maximum(0.5 * lowest).log()
        return y.index_copy(1, self._index(self.log, y), logs)

    def _resting(self, batch: Batch) -> dict[str, Tensor]:
        fields = zip(self.staying.fields, self.resting, strict=True)
        return {field.name: batch.x[:, [i]] for field, i in fields}

    @staticmethod
    def _index(columns: Sequence[int], like: Tensor) -> Tensor:
        return torch.tensor(columns, dtype=torch.long, device=like.device)
