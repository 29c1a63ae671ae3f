r"""Tables as standard normal vectors.

Every column goes through its distribution function: point masses, whole numbers and classes keep to an
interval of their own (:mod:`simulacra.transforms.maps.mixed_quantiles`), columns that span
decades are taken in logarithm, periodic ones become two
(:mod:`simulacra.transforms.maps.circle`). The columns :math:`y` of a row, each of them normal
by then, are made independent as far as their covariance :math:`C` tells, so that a narrow relation of two
columns is as wide as all else to a network: :math:`z = C^{-1/2} (y - \bar y)`.

The way back is exact: :math:`C^{-1/2}` is symmetric and its eigenvalues are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError, draws
from simulacra.core.ranges import Count, Share
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.circle import Circle
from simulacra.transforms.maps.mixed_quantiles import MixedQuantiles
from simulacra.transforms.maps.whitening import whitening


class TableTransform(Transform):
    """See the module's docstring. A latent event has the one stage ``table``, ``(B, width)``.

    Args:
        spec: The data set.
        given: Fields that the module is given; it generates the other event fields beside the features.
        knots: Knots of the map of each column.
        atoms: Point masses of a column, at most.
        share: Share of events from which a value is a point mass.
        whiten: Whether columns are made independent.
    """

    mean: Tensor
    root: Tensor
    back: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field] = (),
        knots: Count = 129,
        atoms: Count = 8,
        share: Share = 0.005,
        whiten: bool = True,
    ) -> None:
        super().__init__(given)
        self.features, self.whiten = spec.features, whiten
        self.made = tuple(field for field in spec.event if field not in given)
        fields = (*self.features, *self.made)
        self.round = [i for i, field in enumerate(fields) if field.periodic]
        self.plain = [i for i in range(len(fields)) if i not in self.round]
        self.quantiles = MixedQuantiles([fields[i] for i in self.plain], knots, atoms, share)
        self.circle = Circle([fields[i] for i in self.round])
        self.width = len(self.plain) + 2 * len(self.round)
        one = torch.eye(self.width, dtype=torch.float64)
        self.register_buffer("mean", torch.zeros(self.width, dtype=torch.float64))
        self.register_buffer("root", one)  # to the latent space
        self.register_buffer("back", one.clone())

    def fit_statistics(self, batches: Batches) -> None:
        """Quantiles of all columns, then their covariance."""
        parts = [(self._columns(batch), batch.weight_or_one()) for batch in batches]
        x, weight = (torch.cat(part).to(self.mean.device) for part in zip(*parts, strict=True))
        self.quantiles.fit(x[:, self.plain], weight)
        self.circle.fit(x[:, self.round], weight)
        if self.whiten:
            self._fit_covariance(x, weight.abs())

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :meth:`~simulacra.transforms.base.Transform.forward`."""
        x = self._columns(batch)
        if self.training or generator is not None:
            noise = draws.uniform(x.shape, x, generator)
        else:
            noise = torch.full_like(x, 0.5)
        z = (self._normal(x, noise) - self.mean) @ self.root
        cond = self.condition(batch.conditions(self.conditions.names))
        return Latent({"table": z.to(torch.float32)}, cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :meth:`~simulacra.transforms.base.Transform.inverse`; nothing is drawn."""
        y = latent.x["table"].double() @ self.back + self.mean
        x = y.new_zeros(y.shape[0], len(self.plain) + len(self.round))
        x[:, self.plain] = self.quantiles.inverse(y[:, : len(self.plain)])
        x[:, self.round] = self.circle.inverse(y[:, len(self.plain) :])
        values = x.float()
        made = {
            field.name: values[:, [len(self.features) + i]] for i, field in enumerate(self.made)
        }
        classes = {field.name for field in self.made if field.classes is not None}
        event = {name: value.long() if name in classes else value for name, value in made.items()}
        return Batch(values[:, : len(self.features)], {}, event)

    def log_det(self, batch: Batch) -> Tensor:
        """Log-determinant ``(B,)`` of :meth:`forward`; point masses and whole numbers count with a width of
        the interval that they fill.

        Raises:
            UserError: If a column is periodic: it becomes two numbers.
        """
        if self.round:
            raise UserError("rows with periodic columns have no density: these become two numbers")
        slopes = self.quantiles.log_slope(self._columns(batch)).sum(1)
        return (slopes + torch.linalg.slogdet(self.root).logabsdet).float()

    def places(self, name: str) -> tuple[int, ...]:
        """Latent columns of a quantity before they are made independent: one, or two of a periodic one.

        Raises:
            UserError: If it is none of the quantities.
        """
        names = [field.name for field in (*self.features, *self.made)]
        if name not in names:
            raise UserError(f"there is no column {name!r} among {names}")
        i = names.index(name)
        if i in self.plain:
            return (self.plain.index(i),)
        first = len(self.plain) + self.round.index(i)
        return first, first + len(self.round)

    def _columns(self, batch: Batch) -> Tensor:
        """All columns that are generated ``(B, F)``."""
        return torch.cat([batch.x, *(batch.event[field.name].float() for field in self.made)], 1)

    def _normal(self, x: Tensor, noise: Tensor) -> Tensor:
        """Columns that are normal each ``(B, width)``."""
        parts = (self.quantiles, self.plain), (self.circle, self.round)
        return torch.cat([part(x[:, chosen], noise[:, chosen]) for part, chosen in parts], 1)

    def _fit_covariance(self, x: Tensor, weight: Tensor) -> None:
        generator = torch.Generator(device=x.device).manual_seed(0)
        y = self._normal(x, draws.uniform(x.shape, x, generator))
        for buffer, value in zip(
            (self.mean, self.root, self.back), whitening(y, weight), strict=True
        ):
            buffer.copy_(value)


MakeTableTransform = Callable[[Spec, Sequence[Field]], TableTransform]
"""From the data set and the given fields."""
