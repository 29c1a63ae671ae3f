"""Observables of a table: its columns, each as it is.

A periodic column is shown within one period, and is its cosine and sine to a classifier; one of classes is
one column per class there, and one that spans decades its logarithm. Conditions are not observables, but a
classifier sees them: it is to judge how the columns depend on them, too. A table whose columns are known may
have quantities that follow from them (:meth:`TableObservables.derived`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from simulacra.core import Batch, Field, IncompatibleError, Spec
from simulacra.physics.base import Axis, ObservableSet

MOST_CLASSES = 60
"""Classes that have a bin each; of more, the axis is that of a number."""


class TableObservables(ObservableSet):
    """All features and event fields of a table.

    Args:
        spec: The data set, of kind table.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if spec.kind != "table":
            raise IncompatibleError(f"{spec.name} is no table, but events of kind {spec.kind!r}")

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Values ``(B,)`` by name of the column, then of what follows from them."""
        found = {
            field.name: wrapped(field, values)
            for field, values in columns(self.spec, batch)
            if field not in self.spec.conditions
        }
        return found | self.derived(found)

    def axes(self) -> dict[str, Axis]:
        """Ranges are those of bounded columns, all others come from the truth."""
        fields = (*self.spec.features, *self.spec.event)
        return {field.name: axis(field) for field in fields} | self.derived_axes()

    def derived(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further quantities ``(B,)`` that follow from the columns ``found``, NaN where they are not defined;
        none by default.
        """
        return {}

    def derived_axes(self) -> dict[str, Axis]:
        """Labels and binnings of :meth:`derived`."""
        return {}

    def features(self, batch: Batch) -> Tensor:
        """All columns, conditions included, as a classifier sees them ``(B, F)``."""
        found = [inputs(field, values) for field, values in columns(self.spec, batch)]
        return torch.nan_to_num(torch.cat(found, 1))


def columns(spec: Spec, batch: Batch) -> list[tuple[Field, Tensor]]:
    """Features, event fields and conditions with their values ``(B,)``, one entry per component."""
    found = [(field, batch.x[:, i]) for i, field in enumerate(spec.features)]
    for fields, group in ((spec.event, batch.event), (spec.conditions, batch.cond)):
        found += [(field, group[field.name][:, 0]) for field in fields]
    return found


def wrapped(field: Field, values: Tensor) -> Tensor:
    """Values of a periodic field within ``[low, high]``, others as they are."""
    if not field.periodic or field.low is None or field.high is None:
        return values
    return field.low + torch.remainder(values.double() - field.low, field.high - field.low)


def axis(field: Field) -> Axis:
    """Label and binning of a column; its category is its role."""
    category = field.role or ""
    if field.classes is not None and len(field.classes) <= MOST_CLASSES:
        bins = len(field.classes)
        label = f"{field.name} ({', '.join(field.classes)})"
        return Axis(label, "", bins, -0.5, bins - 0.5, category=category)
    if field.low is None or field.high is None or field.integer or field.log:
        return Axis(field.name, field.unit, log=field.log, category=category)
    return Axis(field.name, field.unit, 50, field.low, field.high, category=category)


def inputs(field: Field, values: Tensor) -> Tensor:
    """Inputs of a classifier ``(B, k)`` from values ``(B,)``."""
    if field.classes is not None:
        return one_hot(values.long(), len(field.classes)).double()
    if field.periodic and field.low is not None and field.high is not None:
        angle = 2 * math.pi * (values.double() - field.low) / (field.high - field.low)
        return torch.stack([angle.cos(), angle.sin()], 1)
    if field.log and field.low is not None:
        values = values.clamp_min(field.low).log()
    return values[:, None].double()
