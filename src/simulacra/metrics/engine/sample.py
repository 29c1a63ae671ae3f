"""A sample reduced to what is compared: values of observables, classifier inputs, profiles and summed images.

Events are reduced in chunks, so that memory is that of the numbers kept and the events may be on disk. A
column holds the finite values of one observable, one event after the other; an event may hold several (its
hit voxels) or none.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.weights import check_weight
from simulacra.metrics.engine.events import Events, chunks
from simulacra.metrics.engine.weighted import Weight, unequal
from simulacra.physics.base import Image, ObservableSet, Profile, Ragged

CHUNK_VALUES = 2**24
"""Values of events that are reduced at once (float32: 64 MB per copy)."""


@dataclass(frozen=True)
class Column:
    """One observable of a sample.

    Args:
        values: Finite values ``(n,)``, in the type that the observable has.
        counts: How many of them each event holds, int64 ``(N,)``.
        scalar: Whether an event holds one value.
    """

    values: Tensor
    counts: Tensor
    scalar: bool

    @property
    def n(self) -> int:
        """Number of finite values."""
        return len(self.values)

    @property
    def event(self) -> Tensor:
        """Event of each value, int64 ``(n,)``."""
        if self.scalar and self.n == len(self.counts):
            return torch.arange(self.n)
        return torch.repeat_interleave(torch.arange(len(self.counts)), self.counts)

    @property
    def undefined(self) -> int:
        """Events whose scalar is NaN or infinite (events without a hit are not counted)."""
        return len(self.counts) - self.n if self.scalar else 0

    def between(self, start: int, stop: int) -> Column:
        """The part that lies in the events ``[start, stop)``."""
        first = int(self.counts[:start].sum())
        counts = self.counts[start:stop]
        return Column(self.values[first : first + int(counts.sum())], counts, self.scalar)

    def take(self, index: Tensor) -> Column:
        """The events ``index`` ``(k,)``, in that order."""
        counts = self.counts[index]
        start = (self.counts.cumsum(0) - self.counts)[index]
        shift = torch.repeat_interleave(start - (counts.cumsum(0) - counts), counts)
        return Column(self.values[torch.arange(len(shift)) + shift], counts, self.scalar)


@dataclass(frozen=True)
class Sample:
    """All that metrics and plots need of some events.

    Args:
        events: Number of events ``N``; those of weight 0 are left out.
        weight: Event weights ``(N,)``, float64.
        columns: Observables by name.
        features: High-level classifier inputs ``(N, F)``, float64.
        profiles: Profiles with values ``(N, K)`` by name.
        images: Images summed over the weighted events by name.
        response: Asked and seen value ``(N,)`` each, or None.
        position: Place of each event ``(N,)`` among all that were read, int64; None: none was left out.
        cond: Conditions of the events ``(N, dim)`` by name.
    """

    events: int
    weight: Tensor
    columns: dict[str, Column]
    features: Tensor
    profiles: dict[str, Profile]
    images: dict[str, Image]
    response: tuple[Tensor, Tensor] | None
    position: Tensor | None = None
    cond: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.events

    def weights(self, name: str) -> Weight:
        """Weight of each value of an observable ``(n,)``; None where all events weigh the same."""
        weight = unequal(self.weight)
        return None if weight is None else weight[self.columns[name].event]

    def between(self, start: int, stop: int) -> Sample:
        """The events ``[start, stop)``; images stay those of all events, places count from the first."""
        columns = {name: column.between(start, stop) for name, column in self.columns.items()}
        found = self._part(columns, slice(start, stop))
        if start and found.position is not None:
            return replace(found, position=found.position - found.position[:1])
        return found

    def take(self, index: Tensor) -> Sample:
        """The events ``index`` ``(k,)``, in that order; images stay those of all events."""
        columns = {name: column.take(index) for name, column in self.columns.items()}
        return self._part(columns, index)

    def _part(self, columns: dict[str, Column], index: slice | Tensor) -> Sample:
        weight = self.weight[index]
        profiles = {
            name: replace(profile, values=profile.values[index])
            for name, profile in self.profiles.items()
        }
        response = (
            None if self.response is None else (self.response[0][index], self.response[1][index])
        )
        return Sample(
            len(weight),
            weight,
            columns,
            self.features[index],
            profiles,
            self.images,
            response,
            None if self.position is None else self.position[index],
            {name: values[index] for name, values in self.cond.items()},
        )


def reduce(
    events: Events, observables: ObservableSet, watch: Callable[[Batch], None] | None = None
) -> Sample:
    """Compute everything in chunks of events; those of weight 0 are left out.

    Args:
        events: The events; each is asked for once, in order.
        observables: What is computed.
        watch: Sees each chunk before anything is computed from it.

    Raises:
        UserError: If there are no events, weights are not finite, or their sum is not above 0.
    """
    if not len(events):
        raise UserError("there are no events to evaluate: the sample is empty")
    step = max(1, CHUNK_VALUES // max(1, observables.spec.n_voxels))
    parts: list[_Part] = []
    images: dict[str, Image] = {}
    kept: list[Tensor] = []
    for number, batch in enumerate(chunks(events, step)):
        if watch is not None:
            watch(batch)
        weight = batch.weight_or_one().cpu()
        check_weight(weight, len(batch), signed=True)
        present = weight.nonzero()[:, 0]
        kept.append(present + number * step)
        if not len(present):
            continue
        on_cpu = (batch if len(present) == len(batch) else batch[present]).to("cpu")
        parts.append(_chunk(on_cpu, observables))
        for name, image in observables.images(on_cpu).items():
            before = images[name].values if name in images else 0.0
            images[name] = replace(image, values=image.values.double() + before)
        _trim()
    total = float(sum(part.weight.double().sum() for part in parts))
    if not total > 0:
        raise UserError(
            f"the weights of {len(events)} events sum to {total:g}, which gives no distribution: "
            "they must sum to more than 0"
        )
    position = torch.cat(kept)
    return _join(parts, images, None if len(position) == len(events) else position)


def _trim() -> None:
    """Give what a chunk has freed back to the system: glibc keeps it between the small tensors that stay,
    which costs 10 MB per pixel event.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True)
class _Part:
    """A chunk as the observables gave it."""

    weight: Tensor
    observables: Mapping[str, Tensor | Ragged]
    features: Tensor
    profiles: dict[str, Profile]
    response: tuple[Tensor, Tensor] | None
    cond: Mapping[str, Tensor]


def _chunk(batch: Batch, observables: ObservableSet) -> _Part:
    with torch.no_grad():
        found = {
            name: value if value.ndim == 1 or isinstance(value, Ragged) else Ragged.of(value)
            for name, value in observables(batch).items()
        }
        return _Part(
            batch.weight_or_one(),
            found,
            observables.features(batch),
            observables.profiles(batch),
            observables.response(batch),
            dict(batch.cond),
        )


def _join(parts: list[_Part], images: dict[str, Image], position: Tensor | None) -> Sample:
    first = parts[0]
    weight = torch.cat([part.weight for part in parts]).double()
    columns = {
        name: _column([part.observables[name] for part in parts]) for name in first.observables
    }
    profiles = {
        name: replace(
            profile, values=torch.cat([part.profiles[name].values for part in parts]).double()
        )
        for name, profile in first.profiles.items()
    }
    responses = [part.response for part in parts if part.response is not None]
    response = (
        (
            torch.cat([r[0] for r in responses]).double(),
            torch.cat([r[1] for r in responses]).double(),
        )
        if responses
        else None
    )
    features = torch.cat([part.features for part in parts]).double()
    cond = {name: torch.cat([part.cond[name] for part in parts]) for name in first.cond}
    return Sample(
        len(weight), weight, columns, features, profiles, images, response, position, cond
    )


def _column(parts: list[Tensor | Ragged]) -> Column:
    ragged = [part for part in parts if isinstance(part, Ragged)]
    if ragged:
        values = torch.cat([part.values for part in ragged])
        return Column(values, torch.cat([part.counts for part in ragged]), False)
    values = torch.cat([part for part in parts if isinstance(part, Tensor)]).double()
    finite = torch.isfinite(values)
    return Column(values if bool(finite.all()) else values[finite], finite.long(), True)
