"""A sample reduced to what is compared: values of observables, classifier inputs, profiles and summed images.

Events are reduced in chunks, so that memory is that of the numbers kept.  A column holds the
finite values of one observable and the event that each belongs to; an event may hold several (its
voxels) or none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.physics.base import Image, ObservableSet, Profile

CHUNK_VALUES = 2**24
"""Values of events that are reduced at once (float64: 128 MB per copy)."""


@dataclass(frozen=True)
class Column:
    """One observable of a sample.

    Args:
        values: Finite values ``(n,)``, float64.
        event: Event of each value ``(n,)``, int64.
        undefined: Events whose scalar is NaN or infinite (padding of several values per event is
            not counted).
        scalar: Whether an event holds one value.
    """

    values: Tensor
    event: Tensor
    undefined: int
    scalar: bool

    @property
    def n(self) -> int:
        """Number of finite values."""
        return len(self.values)

    def between(self, start: int, stop: int) -> Column:
        """The part that lies in the events ``[start, stop)``, numbered from 0."""
        keep = (self.event >= start) & (self.event < stop)
        values = self.values[keep]
        undefined = stop - start - len(values) if self.scalar else 0
        return Column(values, self.event[keep] - start, undefined, self.scalar)


@dataclass(frozen=True)
class Sample:
    """All that metrics and plots need of some events.

    Args:
        events: Number of events ``N``.
        weight: Event weights ``(N,)``, float64.
        columns: Observables by name.
        features: High-level classifier inputs ``(N, F)``.
        profiles: Profiles with values ``(N, K)`` by name.
        images: Images summed over the events by name.
        response: Asked and seen value ``(N,)`` each, or None.
    """

    events: int
    weight: Tensor
    columns: dict[str, Column]
    features: Tensor
    profiles: dict[str, Profile]
    images: dict[str, Image]
    response: tuple[Tensor, Tensor] | None

    def between(self, start: int, stop: int) -> Sample:
        """The events ``[start, stop)``; images stay those of all events."""
        return Sample(
            stop - start,
            self.weight[start:stop],
            {name: column.between(start, stop) for name, column in self.columns.items()},
            self.features[start:stop],
            {
                name: replace(profile, values=profile.values[start:stop])
                for name, profile in self.profiles.items()
            },
            self.images,
            None
            if self.response is None
            else (self.response[0][start:stop], self.response[1][start:stop]),
        )


def reduce(batch: Batch, observables: ObservableSet) -> Sample:
    """Compute everything in chunks of events.

    Raises:
        UserError: If there are no events.
    """
    if not len(batch):
        raise UserError("there are no events to evaluate: the sample is empty")
    per_event = max(1, batch.x[0].numel())
    step = max(1, min(len(batch), CHUNK_VALUES // per_event))
    parts = [
        _chunk(batch[start : start + step], observables) for start in range(0, len(batch), step)
    ]
    return _join(parts)


def _chunk(batch: Batch, observables: ObservableSet) -> Sample:
    with torch.no_grad():
        weight = torch.ones(len(batch)) if batch.weight is None else batch.weight
        response = observables.response(batch)
        profiles = observables.profiles(batch)
        return Sample(
            len(batch),
            weight.double().cpu(),
            {name: _column(value) for name, value in observables(batch).items()},
            observables.features(batch).float().cpu(),
            {
                name: replace(profile, values=profile.values.double().cpu())
                for name, profile in profiles.items()
            },
            observables.images(batch),
            None if response is None else (response[0].double().cpu(), response[1].double().cpu()),
        )


def _column(values: Tensor) -> Column:
    values = values.detach().cpu()
    finite = torch.isfinite(values)
    event = finite.nonzero()[:, 0]
    scalar = values.ndim == 1
    undefined = len(values) - len(event) if scalar else 0
    return Column(values[finite].double(), event, undefined, scalar)


def _join(parts: list[Sample]) -> Sample:
    first = parts[0]
    if len(parts) == 1:
        return first
    starts = torch.tensor([0, *(part.events for part in parts[:-1])]).cumsum(0).tolist()
    responses = [part.response for part in parts if part.response is not None]
    return Sample(
        sum(part.events for part in parts),
        torch.cat([part.weight for part in parts]),
        {name: _join_columns([part.columns[name] for part in parts], starts) for name in first.columns},
        torch.cat([part.features for part in parts]),
        {name: replace(profile, values=torch.cat([part.profiles[name].values for part in parts]))
         for name, profile in first.profiles.items()},
        {name: replace(image, values=torch.stack([part.images[name].values for part in parts]).sum(0))
         for name, image in first.images.items()},
        (torch.cat([r[0] for r in responses]), torch.cat([r[1] for r in responses])) if responses else None,
    )  # fmt: skip


def _join_columns(columns: list[Column], starts: list[int]) -> Column:
    return Column(
        torch.cat([column.values for column in columns]),
        torch.cat([column.event + start for column, start in zip(columns, starts, strict=True)]),
        sum(column.undefined for column in columns),
        columns[0].scalar,
    )
