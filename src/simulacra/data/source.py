"""Where events come from once a file is open: indexed by a whole list of numbers, answered by a
whole batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch.utils.data import Dataset

from simulacra.core import Batch, UserError


class Source(Protocol):
    """Events behind indices.

    Attributes:
        weight: Event weights ``(N,)``, or None for unit weights.
    """

    weight: torch.Tensor | None

    def __len__(self) -> int:
        """Number of events."""
        raise NotImplementedError

    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order, in physical units."""
        raise NotImplementedError


class FieldSource(Source):
    """Events whose conditions and event fields are in memory even where the rest is not.

    Attributes:
        cond: Conditions of all events, each ``(N, dim)``.
        event: Event fields of all events, each ``(N, dim)``.
    """

    cond: dict[str, torch.Tensor]
    event: dict[str, torch.Tensor]

    @property
    def fields(self) -> dict[str, torch.Tensor]:
        """Conditions and event fields of all events, each ``(N, dim)``."""
        return {**self.cond, **self.event}

    @abstractmethod
    def __len__(self) -> int:
        """Number of events."""

    @abstractmethod
    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order."""


class MemorySource(FieldSource):
    """Events held as one batch of tensors."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.cond, self.event = batch, batch.cond, batch.event
        self.weight = batch.weight

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order."""
        return self.batch[torch.as_tensor(index, dtype=torch.long)]


class Part(Dataset[Batch]):
    """Some events of a source, as a loader sees them: an item is a list of positions, the answer a
    batch.

    Args:
        source: All events.
        index: Which of them, int64 ``(n,)``.
    """

    def __init__(self, source: Source, index: torch.Tensor) -> None:
        self.source = source
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, positions: Sequence[int]) -> Batch:
        return self.source.take(self.index[torch.as_tensor(positions, dtype=torch.long)].tolist())

    def some(self, positions: torch.Tensor) -> Part:
        """The events at some positions, int64 ``(k,)``."""
        return Part(self.source, self.index[positions])

    @property
    def weight(self) -> torch.Tensor | None:
        """Event weights ``(n,)``, or None for unit weights."""
        return None if self.source.weight is None else self.source.weight[self.index]

    def draw(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """``n`` positions with replacement, int64, in proportion to the event weights.

        Raises:
            UserError: If some weights are negative.
        """
        weight = self.weight
        if weight is None:
            return torch.randint(len(self), (n,), generator=generator)
        if bool((weight < 0).any()):
            negative = int((weight < 0).sum())
            raise UserError(
                f"events cannot be drawn in proportion to their weights: {negative} of them are negative"
            )
        reach = weight.double().cumsum(0)
        level = reach[-1] * torch.rand(n, dtype=torch.float64, generator=generator)
        # no event of weight zero is drawn: neither by a level at its border, nor by one rounded to the end
        last = torch.searchsorted(reach, reach[-1:])
        return torch.searchsorted(reach, level, right=True).minimum(last)


class FixedBatches:
    """The first ``limit`` events of a part in a fixed order, as often as one likes."""

    def __init__(self, part: Part, batch_size: int, limit: int) -> None:
        self.part, self.batch_size, self.limit = part, batch_size, limit

    def __iter__(self) -> Iterator[Batch]:
        n = min(len(self.part), self.limit)
        for start in range(0, n, self.batch_size):
            yield self.part[range(start, min(start + self.batch_size, n))]
