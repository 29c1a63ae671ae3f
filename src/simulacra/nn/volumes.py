r"""What networks are told of the volumes that they make and judge, and heads that set a volume's energy.

Norms over the cells of a channel take away how large its numbers are, so that a generator made of them learns
the sum of all cells late, and much later how that fluctuates. With :class:`DrawnSum` the sum is drawn first:
of the conditions a small network makes mean and width of a normal number :math:`r`, by their likelihood for
true volumes. The generator sees :math:`r`, and its cells are multiplied by one factor such that their sum per
incident energy is :math:`\mu\, e^{r \sigma / \mu}`, with mean and standard deviation of the training events.
:class:`FreeSum` leaves all to the generator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from simulacra.core import draws
from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

leaky = partial(nn.LeakyReLU, 0.2)
"""The activation of critics of volumes."""
FURTHEST = 6.0
"""Largest absolute number ``r`` of a true volume, of the order of standard deviations."""


@dataclass(frozen=True)
class Volumes:
    """Of showers on a regular grid.

    Args:
        sizes: Cells per axis.
        shown: Columns that a critic is shown beside volumes and conditions.
        rescaled: Volumes ``(B, 1, *sizes)`` times one factor each, from volumes, numbers ``r`` ``(B, 1)`` and
            conditions.
        log_response: The numbers ``r`` of volumes, from volumes and conditions.
    """

    sizes: tuple[int, ...]
    shown: int
    rescaled: Callable[[Tensor, Tensor, Tensor], Tensor]
    log_response: Callable[[Tensor, Tensor], Tensor]


class Sum(nn.Module, ABC):
    """See the module's docstring."""

    width: ClassVar[int]
    """Columns that the generator sees of it."""

    @abstractmethod
    def draw(self, cond: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Numbers ``(B, width)`` under conditions ``(B, C)``."""

    @abstractmethod
    def forward(self, volume: Tensor, r: Tensor, cond: Tensor) -> Tensor:
        """Volumes ``(B, 1, *sizes)`` with the sums that were drawn."""

    @abstractmethod
    def losses(self, volume: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """What is minimised for true volumes, by name, each ``(B,)``."""


class FreeSum(Sum):
    """Nothing is drawn."""

    width = 0

    def draw(self, cond: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Sum`."""
        return cond[:, :0]

    def forward(self, volume: Tensor, r: Tensor, cond: Tensor) -> Tensor:
        """The volumes as they are."""
        return volume

    def losses(self, volume: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """None."""
        return {}


class DrawnSum(Sum):
    """See the module's docstring.

    Args:
        volumes: What volumes are.
        given: Columns of the conditions that the network sees, the first ones.
        hidden: Widths of the network.
    """

    width = 1

    def __init__(self, volumes: Volumes, given: int, hidden: Sequence[Count]) -> None:
        super().__init__()
        self.given, self.rescaled, self.log_response = given, volumes.rescaled, volumes.log_response
        self.net = MLP(given, 2, hidden, leaky)

    def draw(self, cond: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Sum`."""
        mean, log_width = self.net(cond[:, : self.given]).chunk(2, dim=1)
        return mean + log_width.exp() * draws.normal(mean.shape, mean, generator)

    def forward(self, volume: Tensor, r: Tensor, cond: Tensor) -> Tensor:
        """See :class:`Sum`."""
        return self.rescaled(volume, r, cond)

    def losses(self, volume: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """Negative log-likelihood but for a constant; what is beyond :data:`FURTHEST` counts as that."""
        mean, log_width = self.net(cond[:, : self.given]).chunk(2, dim=1)
        r = self.log_response(volume, cond).clamp(-FURTHEST, FURTHEST)
        pull = (r - mean) * (-log_width).exp()
        return {"sum": (log_width + pull.square() / 2)[:, 0]}


def sum_of(volumes: Volumes, given: int, hidden: Sequence[Count] | None) -> Sum:
    """A head with a network of some widths; with None, one that leaves sums to the generator."""
    return FreeSum() if hidden is None else DrawnSum(volumes, given, hidden)


def as_volume(vector: Tensor) -> Tensor:
    """``(B, C)`` as ``(B, C, 1, 1, 1)``."""
    return vector[:, :, None, None, None]


def narrow_init(module: nn.Module, width: float = 0.02) -> None:
    """Normal weights of convolutions, of the width of the reference unless another is given."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.normal_(module.weight, 0.0, width)
