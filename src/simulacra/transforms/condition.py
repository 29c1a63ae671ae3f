"""Conditions as network inputs.

Classes become one-hot columns; a periodic field becomes the sine and the cosine of its phase; a
logarithmic field becomes ``2 ln(v/low) / ln(high/low) - 1`` and a bounded linear one
``2 (v - low) / (high - low) - 1``, both in [-1, 1] on the spec's range; a field without bounds is
standardised with the mean and standard deviation of the training events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import Batch, Conditions, Field, UserError, draws


class ConditionScaling(nn.Module):
    """Scale and concatenate fields: :class:`~simulacra.core.Conditions` of ``n`` events to ``(n,
    width)``.

    Args:
        fields: The fields that are given, in the order of the columns.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__()
        self.fields = tuple(fields)
        self.register_buffer(
            "mean", torch.zeros(len(self.fields), max([f.dim for f in fields], default=1))
        )
        self.register_buffer("std", torch.ones_like(self.mean))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the given fields."""
        return tuple(field.name for field in self.fields)

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(field.width for field in self.fields)

    def places(self, name: str) -> tuple[int, ...]:
        """Columns of a field.

        Raises:
            UserError: If it is not given.
        """
        if name not in self.names:
            raise UserError(f"there is no given field {name!r} among {list(self.names)}")
        i = self.names.index(name)
        start = sum(field.width for field in self.fields[:i])
        return tuple(range(start, start + self.fields[i].width))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Mean and standard deviation of the fields that have no bounds."""
        free = [
            i
            for i, f in enumerate(self.fields)
            if f.classes is None and (f.low is None or f.high is None)
        ]
        if not free:
            return
        count, first, second = (
            0,
            torch.zeros_like(self.mean).double(),
            torch.zeros_like(self.mean).double(),
        )
        for batch in batches:
            values = batch.conditions(self.names).values
            count += len(batch)
            for i in free:
                value = self._log(self.fields[i], values[self.fields[i].name]).double()
                first[i, : value.shape[1]] += value.sum(0)
                second[i, : value.shape[1]] += value.square().sum(0)
        mean = first / max(count, 1)
        std = (second / max(count, 1) - mean.square()).clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, cond: Conditions) -> Tensor | None:
        """Columns of all fields, float32, or None where there are no fields.

        Raises:
            UserError: If a field is missing or a class number does not exist.
        """
        columns = []
        for i, field in enumerate(self.fields):
            if field.name not in cond.values:
                raise UserError(
                    f"the condition {field.name!r} is missing: given are {sorted(cond.values) or 'none'}"
                )
            columns.append(self._column(i, field, cond.values[field.name].to(self.mean.device)))
        return torch.cat(columns, dim=1) if columns else None

    def _column(self, i: int, field: Field, value: Tensor) -> Tensor:
        if field.classes is not None:
            known = draws.unrolled() or _are_classes(value, len(field.classes))
            if not known:
                raise UserError(
                    f"{field.name!r} has classes 0 to {len(field.classes) - 1}, got {int(value.max())}"
                )
            return functional.one_hot(value[:, 0].long(), len(field.classes)).to(self.mean.dtype)
        if field.low is None or field.high is None:
            return (self._log(field, value).float() - self.mean[i, : field.dim]) / self.std[
                i, : field.dim
            ]
        if field.periodic:
            phase = 2 * math.pi * (value.float() - field.low) / (field.high - field.low)
            return torch.cat([phase.sin(), phase.cos()], dim=1)
        if field.log:
            return 2 * torch.log(value.float() / field.low) / math.log(field.high / field.low) - 1
        return 2 * (value.float() - field.low) / (field.high - field.low) - 1

    @staticmethod
    def _log(field: Field, value: Tensor) -> Tensor:
        return torch.log(value.clamp_min(field.low or 0.0)) if field.log else value


def _are_classes(value: Tensor, classes: int) -> bool:
    return int(value.min()) >= 0 and int(value.max()) < classes
