"""Events to be judged that need not be in memory: a batch, or a part of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

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


def conditions(events: Events, size: int) -> Conditions:
    """Conditions of all events, read ``size`` events at a time."""
    parts = [batch.cond for batch in chunks(events, size)]
    names = parts[0] if parts else {}
    values = {name: torch.cat([part[name] for part in parts]) for name in names}
    return Conditions(len(events), values)
