"""Calibrations of generated events against true ones: what they have in common.

A calibration remembers true events' share of what it compares, their given fields and their weights; events
that a model generates for the same fields, with the same weights, give the other share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field
from simulacra.core.constructors import role
from simulacra.transforms.base import Batches


@role
class Calibration(nn.Module, ABC):
    """Leaves events as they are until the true and the generated side are known.

    Args:
        fields: Fields that the generator is given.
        events: True events that are remembered, 0 for no calibration.
    """

    rounds: ClassVar[tuple[float, ...]] = (1.0,)
    """Share of the events of which the generated side is taken, round by round; from the second on they are
    calibrated with the last.
    """
    known: Tensor
    asked: Tensor
    weight: Tensor

    def __init__(self, fields: Sequence[Field], events: int) -> None:
        super().__init__()
        self.fields, self.events = tuple(fields), events
        self.register_buffer("known", torch.zeros(2, dtype=torch.bool))
        width = sum(field.dim for field in fields)
        self.register_buffer("asked", torch.zeros(events, width, dtype=torch.float64))
        self.register_buffer("weight", torch.ones(events))

    def remember(self, batches: Batches) -> Batch | None:
        """The first true events, whose fields and weights are kept; None without any."""
        parts: list[Batch] = []
        count = 0
        for batch in batches:
            if count >= self.events:
                break
            parts.append(batch[: self.events - count])
            count += len(parts[-1])
        if not parts:
            return None
        first = Batch.cat(parts)
        values = first.conditions([field.name for field in self.fields]).values
        rows = torch.cat([values[field.name].double() for field in self.fields], dim=1)
        chosen = torch.arange(self.events) % len(rows)
        self.asked.copy_(rows[chosen])
        self.weight.copy_(first.weight_or_one()[chosen])
        return first

    def conditions(self) -> Conditions:
        """What to generate events for, ``events`` of them."""
        columns = self.asked.split([field.dim for field in self.fields], dim=1)
        values = {
            field.name: column.float() if field.classes is None else column.long()
            for field, column in zip(self.fields, columns, strict=True)
        }
        return Conditions(self.events, values)

    @property
    def weights(self) -> Tensor | None:
        """Weights of the events of :meth:`conditions` ``(events,)``, None where all weigh one."""
        return None if bool((self.weight == 1).all()) else self.weight

    @property
    def active(self) -> bool:
        """Whether both sides are known."""
        return all(self.known.tolist())

    def forget(self) -> None:
        """Leave events as they are, e.g. to generate uncalibrated ones."""
        self.known[1] = False

    @abstractmethod
    def fit_generated(self, batch: Batch) -> None:
        """Take the generated side from the events of a round, which may have weights."""
