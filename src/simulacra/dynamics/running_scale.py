r"""Standardisation of what is learnt itself, by statistics that follow it.

While an encoder learns, means and variances of its channels move along,

.. math:: m \leftarrow m + a\,(m_\text{batch} - m), \qquad a = \max(1/n, 1/100),

for batch ``n`` of those that were seen: at first the mean of all batches, later of about the last hundred.
They are buffers, and stay as they are when the encoder does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core.weights import event_mean
from simulacra.nn.gathering import Gathering

WINDOW = 100
LEAST = 1e-6
"""Smallest width that is taken for one."""


class RunningScale(Gathering):
    """``(z - mean) / width`` of each channel of ``(B, C, *)``.

    Args:
        channels: ``C``.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("seen", torch.tensor(0))

    @torch.no_grad()
    def see(self, z: Tensor, weight: Tensor | None = None) -> None:
        """Move the statistics towards those of a batch, whose events may have weights ``(B,)``."""
        self.seen += 1
        self._move(z, weight, (1 / self.seen).clamp(min=1 / WINDOW))

    @torch.no_grad()
    def start(self, z: Tensor, weight: Tensor | None = None) -> None:
        """Take the statistics of a batch, until the first one is seen."""
        self._move(z, weight, self.mean.new_ones(()))

    def forward(self, z: Tensor) -> Tensor:
        """Standardise."""
        return (z - _beside(self.mean, z)) / _beside(self._width(), z)

    def inverse(self, y: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return y * _beside(self._width(), y) + _beside(self.mean, y)

    def _width(self) -> Tensor:
        width = self.variance.clamp(min=0).sqrt()
        return torch.where(width > LEAST, width, 1.0)

    def _move(self, z: Tensor, weight: Tensor | None, share: Tensor) -> None:
        cells = z.float().flatten(2)
        mean = event_mean(cells.mean(2), weight)
        variance = event_mean((cells - mean[:, None]).square().mean(2), weight)
        step = mean - self.mean
        self.variance.mul_(1 - share).add_(share * (variance + (1 - share) * step.square()))
        self.mean.add_(share * step)


def _beside(numbers: Tensor, z: Tensor) -> Tensor:
    return numbers.view(-1, *[1] * (z.ndim - 2))
