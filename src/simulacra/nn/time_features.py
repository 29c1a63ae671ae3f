r"""Features of a time, and of the length of an interval that begins there.

Networks hand the numbers that tell the time, ``(B,)`` of a batch, to a module of features and nothing else. A
network *takes lengths* when its features do: then what it is handed is ``(B, 2)``, time and length
:math:`\ell`, and the features of the time become

.. math:: \phi(t) + W\, [\cos \pi k \ell - 1, \sin \pi k \ell]_{k = 1 \dots K}

with :math:`W` zero before training. So the code of no network changes, its weights keep their names, and with
lengths of zero it is what it was.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from simulacra.core.errors import UserError
from simulacra.nn.neutral import Neutral

FREQUENCIES = 2
"""``K``; what is learnt from its own slope has less noise the slower it can change."""


class TimeFeatures(nn.Module, ABC):
    """See the module's docstring; ``width`` is the number of features."""

    width: int
    of_time: ClassVar[bool] = True
    """Whether the numbers are times; the same features may tell conditions, too."""

    def __init__(self) -> None:
        super().__init__()
        self.length: LengthFeatures | None = None

    @abstractmethod
    def features(self, t: Tensor) -> Tensor:
        """``(*)`` to ``(*, width)``."""

    def forward(self, t: Tensor) -> Tensor:
        """Times ``(*)``, or times and lengths ``(*, 2)`` where lengths are taken, to ``(*, width)``."""
        if self.length is None:
            return self.features(t)
        time, length = t.unbind(-1)
        value: Tensor = self.features(time) + self.length(length)
        return value


class LengthFeatures(Neutral):
    """What is added to the features of the time, zero before training and where lengths are zero.

    Args:
        width: Of the features of the time.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer(
            "frequencies", math.pi * torch.arange(1, FREQUENCIES + 1), persistent=False
        )
        self.weight = nn.Parameter(torch.zeros(width, 2 * FREQUENCIES))

    def forward(self, length: Tensor) -> Tensor:
        """``(*)`` to ``(*, width)``."""
        angle = length[..., None] * self.frequencies
        return torch.cat([angle.cos() - 1, angle.sin()], -1) @ self.weight.T


def take_lengths(net: nn.Module) -> None:
    """From now on a network is handed times and lengths ``(B, 2)``.

    Raises:
        UserError: If it has no features of the time.
    """
    found = [part for part in net.modules() if isinstance(part, TimeFeatures) and part.of_time]
    if not found:
        raise UserError(
            f"{type(net).__name__} has no features of the time, to which the length of an interval could be "
            "added: take another network, or plain flow matching"
        )
    for part in found:
        part.length = LengthFeatures(part.width)
