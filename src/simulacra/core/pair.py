"""Two samples of one kind of event in one batch, told apart by a label.

The event field :data:`LABEL` is 1 for an event of the sample ``first`` and 0 for one of ``second``.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from simulacra.core.batch import Batch
from simulacra.core.spec import Field, Spec

LABEL = Field("label", classes=("second", "first"))
"""The sample that an event belongs to."""
SECOND, FIRST = range(2)


def labelled(spec: Spec) -> Spec:
    """The spec of two samples, of which ``spec`` is that of each."""
    return spec.with_(event=(*spec.event, LABEL))


def unlabelled(spec: Spec) -> Spec:
    """Inverse of :func:`labelled`."""
    return spec.with_(event=tuple(field for field in spec.event if field != LABEL))


def with_label(batch: Batch, number: int) -> Batch:
    """Events of one sample with its label."""
    label = torch.full((len(batch), 1), number, device=batch.x.device)
    return replace(batch, event={**batch.event, LABEL.name: label})


def of_sample(batch: Batch, number: int) -> Batch:
    """The events of one sample, without the label."""
    found = batch[batch.event[LABEL.name][:, 0] == number]
    event = {name: value for name, value in found.event.items() if name != LABEL.name}
    return replace(found, event=event)
