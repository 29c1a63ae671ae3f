r"""What passes from an encoder to a decoder: its numbers themselves, or a draw from a normal distribution.

Of an encoder's means :math:`\mu` and logarithms of variances :math:`\ln \sigma^2` the vector
:math:`z = \mu + \sigma \epsilon` is drawn, and the divergence

.. math:: KL\bigl(\mathcal N(\mu, \sigma^2)\,\|\,\mathcal N(0, 1)\bigr)
          = \tfrac12 \sum_k \bigl(\mu_k^2 + \sigma_k^2 - 1 - \ln \sigma_k^2\bigr)

draws the distribution towards a standard normal.

Reference: Kingma and Welling 2013, arXiv:1312.6114.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from simulacra.core import draws
from simulacra.core.ranges import NotNegative


class Bottleneck(nn.Module, ABC):
    """See the module's docstring."""

    numbers: ClassVar[int]
    """What an encoder gives for each number that passes."""
    kl: float = 0.0
    """Weight of the divergence beside a likelihood; 1 makes their sum a bound on the evidence."""

    @abstractmethod
    def forward(
        self, given: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """What passes ``(B, C, *)`` of what an encoder gives ``(B, numbers C, *)``, and the divergence of
        each event, ``(B,)`` [nat].
        """


class Plain(Bottleneck):
    """The numbers of the encoder themselves."""

    numbers = 1

    def forward(
        self, given: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Bottleneck`."""
        return given, given.new_zeros(len(given))


class Normal(Bottleneck):
    """A draw from the normal distribution of the encoder.

    Args:
        kl: Weight of the divergence.
    """

    numbers = 2

    def __init__(self, kl: NotNegative) -> None:
        super().__init__()
        self.kl = kl

    def forward(
        self, given: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Bottleneck`."""
        mean, log_variance = given.chunk(2, dim=1)
        found = divergence(mean.flatten(1), log_variance.flatten(1))
        return encoded(mean, log_variance, generator), found


def encoded(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None) -> Tensor:
    """A draw from a distribution."""
    return mean + (0.5 * log_variance).exp() * draws.normal(mean.shape, mean, generator)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of normal distributions ``(B, Z)`` from a standard normal, ``(B,)``."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
