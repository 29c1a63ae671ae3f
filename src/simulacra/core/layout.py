"""What a density describes: how many numbers, given how many, and how they lie as cells of a shower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core.geometry import Geometry

Seen = Callable[[int, Tensor, Tensor], Tensor]
"""``seen(n, x, context)``: what later layers see of a generated layer ``n`` ``(B, V)``, e.g. after a cut."""
Reach = Callable[[Tensor | None, int], Tensor]
"""``reach(context, n)``: :math:`G` of each layer for contexts ``(B, C)`` of ``n`` events: ``(B, L)``."""


@dataclass(frozen=True)
class Levels:
    r"""Numbers that are levels :math:`0 \dots K - 1` of an energy, 0 for none.

    With the logarithm ``G`` of the largest energy over the smallest, level :math:`q > 0` stands for energies
    between :math:`e^{G((q - 1) / (K - 1) - 1)}` and :math:`e^{G(q / (K - 1) - 1)}` of the largest.

    Args:
        count: ``K``.
        reach: ``G`` of each layer.
    """

    count: int
    reach: Reach

    def share(self, level: Tensor, reach: Tensor) -> Tensor:
        """Energies in units of the largest at the middles of levels, on the scale of logarithms."""
        middle = torch.exp(reach * ((level - 0.5) / (self.count - 1) - 1))
        return torch.where(level > 0, middle, 0.0)


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
        levels: What the numbers are where they are levels (None: any real numbers).
    """

    features: int
    context: int
    layers: tuple[int, ...] = ()
    image: tuple[int, int] | None = None
    periodic: int | None = None
    seen: Seen | None = None
    geometry: Geometry | None = None
    levels: Levels | None = None

    @property
    def given(self) -> int:
        """Width of the conditions, the first columns of the context."""
        return self.context - len(self.layers)
