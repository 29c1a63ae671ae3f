"""Events in bags: samples of which the share of signal is known, and of no event what it is.

The event field :data:`BAG` is the number of the bag that an event lies in, and :data:`FRACTION` the share of
signal that is stated for it.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from simulacra.core.batch import Batch
from simulacra.core.spec import Field, Spec

BAG = "bag"
FRACTION = Field("fraction", low=0.0, high=1.0)
"""Stated share of signal in the bag of an event."""
MARKS = (BAG, FRACTION.name)
"""Names of the event fields that are added."""


def bagged(spec: Spec, bags: int) -> Spec:
    """The spec of events in bags, of which ``spec`` is that of each."""
    bag = Field(BAG, classes=tuple(str(number) for number in range(bags)))
    return spec.with_(event=(*spec.event, bag, FRACTION))


def unbagged(spec: Spec) -> Spec:
    """Inverse of :func:`bagged`."""
    return spec.with_(event=tuple(field for field in spec.event if field.name not in MARKS))


def with_bag(batch: Batch, bag: Tensor, fraction: Tensor) -> Batch:
    """Events with the numbers of their bags ``(B,)``, int64, and the stated fractions ``(B,)``."""
    return replace(
        batch, event={**batch.event, BAG: bag[:, None], FRACTION.name: fraction[:, None]}
    )


def without_bag(batch: Batch) -> Batch:
    """Inverse of :func:`with_bag`."""
    event = {name: value for name, value in batch.event.items() if name not in MARKS}
    return replace(batch, event=event)


def seen(batch: Batch, spec: Spec) -> Batch:
    """Events with the fields of a spec alone."""
    cond = {field.name: batch.cond[field.name] for field in spec.conditions}
    event = {field.name: batch.event[field.name] for field in spec.event}
    return replace(batch, cond=cond, event=event)
