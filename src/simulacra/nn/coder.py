"""What an auto-encoder of cells consists of: an encoder to fewer numbers, of channels, and a decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from simulacra.core import Layout


class Coder(nn.Module, ABC):
    """See the module's docstring.

    Attributes:
        layout: What the encoder gives as numbers in a line, given the same context as the cells.
        channels: Channels ``C`` of it.
    """

    layout: Layout
    channels: int

    @abstractmethod
    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Cells ``(B, D)`` given ``(B, context)`` to ``(B, numbers C, *)``."""

    @abstractmethod
    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, C, *)`` to ``(B, outputs)``, numbers that tell of the cells."""

    @abstractmethod
    def volume(self, line: Tensor) -> Tensor:
        """Undo :meth:`line`."""

    def line(self, z: Tensor) -> Tensor:
        """``(B, C, *)`` as numbers in a line ``(B, layout.features)``."""
        return z.movedim(1, -1).flatten(1)
