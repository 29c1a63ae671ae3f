r"""What networks are told of the volumes that they make and judge, and a head that sets a volume's energy.

Norms over the cells of a channel take away how large its numbers are, so that a generator made of them learns
the sum of all cells late, and much later how that fluctuates. :class:`Response` sets it directly: of noise
and conditions a small network makes mean and width of a normal number :math:`r`, and the cells are multiplied
by one factor such that their sum per incident energy is :math:`\mu\, e^{r \sigma / \mu}`, with mean and
standard deviation of the training events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from simulacra.core import draws
from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

leaky = partial(nn.LeakyReLU, 0.2)
"""The activation of critics of volumes."""


@dataclass(frozen=True)
class Volumes:
    """Of showers on a regular grid.

    Args:
        sizes: Cells per axis.
        shown: Columns that a critic is shown beside volumes and conditions.
        rescaled: Volumes ``(B, 1, *sizes)`` times one factor each, from volumes, numbers ``r`` ``(B, 1)`` and
            conditions.
    """

    sizes: tuple[int, ...]
    shown: int
    rescaled: Callable[[Tensor, Tensor, Tensor], Tensor]


class Response(nn.Module):
    """See the module's docstring.

    Args:
        volumes: What volumes are.
        inputs: Numbers that a volume is made of.
        hidden: Widths of the network.
    """

    def __init__(self, volumes: Volumes, inputs: int, hidden: Sequence[Count]) -> None:
        super().__init__()
        self.rescaled = volumes.rescaled
        self.net = MLP(inputs, 2, hidden, leaky)

    def forward(
        self, volume: Tensor, z: Tensor, cond: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Volumes ``(B, 1, *sizes)`` of volumes.

        Args:
            volume: What a generator has made.
            z: What it was made of ``(B, inputs)``, so that the sum can go with the shape.
            cond: Conditions.
            generator: Source of noise.
        """
        mean, log_width = self.net(z).chunk(2, dim=1)
        r = mean + log_width.exp() * draws.normal(mean.shape, mean, generator)
        return self.rescaled(volume, r, cond)


def as_volume(vector: Tensor) -> Tensor:
    """``(B, C)`` as ``(B, C, 1, 1, 1)``."""
    return vector[:, :, None, None, None]


def narrow_init(module: nn.Module, width: float = 0.02) -> None:
    """Normal weights of convolutions, of the width of the reference unless another is given."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.normal_(module.weight, 0.0, width)
