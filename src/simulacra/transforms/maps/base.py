"""Bijections of tensors on a declared domain: ``inverse(forward(x)) == x``.

Statistics are buffers of a known shape, so that they travel in the checkpoint; nothing works in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from simulacra.core.constructors import role


@role
class Map(nn.Module, ABC):
    """Invertible map of tensors; ``mask`` marks the real points of a cloud ``(B, N)`` where there
    is one.
    """

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Set the statistics from ``x``; maps without statistics need none."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map ``x``, same leading shape."""

    @abstractmethod
    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Undo :meth:`forward`."""


class Compose(Map):
    """Maps one after the other; each is fitted on the output of those before it."""

    def __init__(self, *maps: Map) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Fit all maps in order."""
        for item in self._maps():
            item.fit(x, mask)
            x = item(x, mask)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply all maps in order."""
        for item in self._maps():
            x = item(x, mask)
        return x

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Undo all maps in reverse order."""
        for item in reversed(self._maps()):
            y = item.inverse(y, mask)
        return y

    def _maps(self) -> Sequence[Map]:
        return [item for item in self.maps if isinstance(item, Map)]
