"""What goes into an exported graph and what comes out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from simulacra.core.draws import Kind

Role = Literal["condition", "output"] | Kind
"""A port holds a condition, noise of a distribution, or something that is made."""


@dataclass(frozen=True)
class Port:
    """One tensor of float32 numbers.

    Args:
        name: Name in the graph.
        shape: Shape of one event, without the axis of the events.
        role: What it holds. Of a port that holds noise and then conditions it is that of the noise.
        unit: Unit, empty for pure numbers.
        low: Smallest value of a condition that the model was trained with, or None.
        high: Largest.
        note: What a caller must know beside that, may be empty.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    unit: str = ""
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def width(self) -> int:
        """Numbers per event."""
        return math.prod(self.shape)

    def to_dict(self, batch: int | None) -> dict[str, object]:
        """Plain types; ``batch`` is the number of events of a call, None for any."""
        return {
            "name": self.name,
            "shape": [batch, *self.shape],
            "type": "float32",
            "role": self.role,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "note": self.note,
        }
