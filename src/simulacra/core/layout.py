"""What a density describes: how many numbers, given how many, and how they lie as cells of a shower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from simulacra.core.geometry import Geometry

Seen = Callable[[int, Tensor, Tensor], Tensor]
"""``seen(n, x, context)``: what later layers see of a generated layer ``n`` ``(B, V)``, e.g. after a cut."""


@dataclass(frozen=True)
class Layout:
    """All that a density is told of its numbers, so that it needs to know no data set.

    Numbers in layers follow each other layer by layer; the last columns of their context are the energies of
    all layers, what stands before them are the conditions.

    Args:
        features: Numbers that are described, ``D``.
        context: Width of the context, 0 for none.
        layers: Numbers of each layer, where they lie in layers; else empty.
        image: Rows and columns of every layer, where all are alike, or None.
        periodic: Axis of the image that closes on itself, 0 rows or 1 columns, or None.
        seen: What later layers see of a generated one (None: the layer itself).
        geometry: Where the cells lie that the numbers belong to one by one, or None.
    """

    features: int
    context: int
    layers: tuple[int, ...] = ()
    image: tuple[int, int] | None = None
    periodic: int | None = None
    seen: Seen | None = None
    geometry: Geometry | None = None

    @property
    def given(self) -> int:
        """Width of the conditions, the first columns of the context."""
        return self.context - len(self.layers)
