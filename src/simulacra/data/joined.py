"""Several samples behind one index, the events of each with a mark of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.data.source import Part

Mark = Callable[[Batch], Batch]
"""Writes to events of one sample which one they are of."""


class Joined:
    """The events of the first sample, then those of the second, and so on.

    Args:
        parts: Events of each sample.
        marks: The mark of each.
        weight: Event weights ``(N,)`` in place of the samples' own; None: their own.

    Attributes:
        weight: Event weights ``(N,)``, or None where all are 1.
    """

    def __init__(
        self, parts: Sequence[Part], marks: Sequence[Mark], weight: Tensor | None = None
    ) -> None:
        self.parts, self.marks = tuple(parts), tuple(marks)
        self.starts = [0, *accumulate(map(len, parts))]
        self.weight = weight
        if weight is None and any(part.weight is not None for part in parts):
            self.weight = torch.cat([weight_or_one(part) for part in parts])

    def __len__(self) -> int:
        return self.starts[-1]

    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order, marked."""
        rows = torch.as_tensor(index, dtype=torch.long)
        sample, found, order = self.sample(rows), [], []
        for number, (part, mark) in enumerate(zip(self.parts, self.marks, strict=True)):
            chosen = (sample == number).nonzero()[:, 0]
            if len(chosen) or (not len(rows) and not number):
                found.append(mark(part[(rows[chosen] - self.starts[number]).tolist()]))
                order.append(chosen)
        batch = Batch.cat(found)[torch.cat(order).argsort()]
        return replace(batch, weight=None if self.weight is None else self.weight[rows])

    def sample(self, rows: Tensor) -> Tensor:
        """Number of the sample of each of the events ``rows``, int64 ``(n,)``."""
        return torch.bucketize(rows, torch.tensor(self.starts[1:]), right=True)

    def mixed(self) -> Tensor:
        """All events in a fixed order in which the samples are evenly spread, int64 ``(N,)``."""
        places = [
            (torch.arange(len(part)).double() + 0.5) / max(1, len(part)) for part in self.parts
        ]
        return torch.cat(places).argsort(stable=True)


def weight_or_one(part: Part) -> Tensor:
    """Event weights ``(n,)``, ones where there are none."""
    return torch.ones(len(part)) if part.weight is None else part.weight
