"""Events to be judged that need not be in memory: a batch, or a part of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions


class Events(Protocol):
    """Events behind a range of positions; a :class:`~simulacra.core.Batch` is one."""

    def __len__(self) -> int:
        """Number of events."""
        raise NotImplementedError

    def __getitem__(self, index: range, /) -> Batch:
        """The events ``index``, in that order."""
        raise NotImplementedError


def chunks(events: Events, size: int) -> Iterator[Batch]:
    """All events in order, ``size`` at a time."""
    for start in range(0, len(events), size):
        yield events[range(start, min(start + size, len(events)))]


@dataclass(frozen=True)
class Window:
    """The events ``[start, stop)`` of others."""

    events: Events
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: range, /) -> Batch:
        return self.events[range(self.start + index.start, self.start + index.stop, index.step)]


@dataclass(frozen=True)
class Kept:
    """Some events of others, in their order.

    Args:
        events: The others.
        index: Positions ``(n,)``, int64, rising.
    """

    events: Events
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: range, /) -> Batch:
        wanted = self.index[index.start : index.stop : index.step]
        if not len(wanted):
            return self.events[range(0)]
        parts, stop = [], int(wanted[-1]) + 1
        for start in range(
            int(wanted[0]), stop, len(wanted)
        ):  # as many are in memory as are asked for
            end = min(start + len(wanted), stop)
            inside = wanted[(wanted >= start) & (wanted < end)]
            if len(inside):
                parts.append(self.events[range(start, end)][inside - start])
        return Batch.cat(parts)


@dataclass(frozen=True)
class Joined:
    """The events of several samples, one behind the other."""

    parts: Sequence[Events]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: range, /) -> Batch:
        found, start = [], 0
        for part in self.parts:
            first, end = (
                min(len(index), max(0, -(-(place - index.start) // index.step)))
                for place in (start, start + len(part))
            )
            if first < end:
                wanted = index[first:end]
                found.append(part[range(wanted.start - start, wanted.stop - start, wanted.step)])
            start += len(part)
        return Batch.cat(found) if found else self.parts[0][range(0)]


def origin(events: Events) -> tuple[Events, Tensor]:
    """What windows and selections are parts of, and the positions ``(n,)`` in it, int64."""
    if isinstance(events, Window):
        whole, position = origin(events.events)
        return whole, position[events.start : events.stop]
    if isinstance(events, Kept):
        whole, position = origin(events.events)
        return whole, position[events.index]
    return events, torch.arange(len(events))


def conditions(events: Events, size: int) -> Conditions:
    """Conditions of all events, read ``size`` events at a time."""
    parts = [batch.cond for batch in chunks(events, size)]
    names = parts[0] if parts else {}
    values = {name: torch.cat([part[name] for part in parts]) for name in names}
    return Conditions(len(events), values)
