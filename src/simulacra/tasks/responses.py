r"""What a detector makes of a true value, as numerical inversion learns it.

With the true value :math:`t`, the measured one :math:`r` and features :math:`\theta`, a response has a centre
:math:`f(t, \theta)` that rises with :math:`t`:

- :class:`MeanResponse`: :math:`f = E[r | t, \theta]`, by the mean of :math:`(r/t - f/t)^2`;
- :class:`CoreResponse`: :math:`f` is the centre of a Gaussian core, by the likelihood of

  .. math:: p(r | t, \theta) = (1 - a)\, N(r; f, \sigma f) + a\, N(r; f + \delta \sigma f, \kappa \sigma f),
            \qquad a < \tfrac12,\; \kappa > 1,

  whose second part takes the tails, so that :math:`f` stays near the most likely value.

Both weights are functions of :math:`t` alone, so that the spectrum of true values cancels. Values are on the
scale of :mod:`simulacra.transforms.measured`.

Reference: Cheong, Cukierman, Nachman, Safdari, Schwartzman 2019, arXiv:1910.03773, for the mean and for
parameters of the response by a likelihood.

Note:
    The tail is ours; the reference has one Gaussian.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from simulacra.core import weighted_mean
from simulacra.core.constructors import role
from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP
from simulacra.nn.monotone import Monotone


@role
class Response(nn.Module, ABC):
    """See the module's docstring.

    Args:
        features: Width of the features.
        net: Makes the network of the centre from the width of the features.
    """

    def __init__(self, features: int, net: Callable[[int], Monotone]) -> None:
        super().__init__()
        self.net = net(features)

    def centre(self, true: Tensor, features: Tensor | None) -> Tensor:
        """``f`` at true values ``(B,)`` and features ``(B, K)``, ``(B,)``."""
        found: Tensor = self.net(true, features)
        return found

    @abstractmethod
    def loss(
        self,
        true: Tensor,
        measured: Tensor,
        features: Tensor | None,
        scale: Tensor,
        weight: Tensor | None,
    ) -> Tensor:
        """What is minimised, a scalar; ``scale`` is the unit of values, in logarithms."""


class MeanResponse(Response):
    """See the module's docstring."""

    def loss(
        self,
        true: Tensor,
        measured: Tensor,
        features: Tensor | None,
        scale: Tensor,
        weight: Tensor | None,
    ) -> Tensor:
        """See the base class."""
        seen = (scale * (measured - true)).exp()
        mean = (scale * (self.centre(true, features) - true)).exp()
        return weighted_mean((seen - mean).square(), weight)


class CoreResponse(Response):
    """See the module's docstring.

    Args:
        features, net: As of the base class.
        shape: Widths of the network of width and tail.
    """

    def __init__(
        self, features: int, net: Callable[[int], Monotone], shape: Sequence[Count]
    ) -> None:
        super().__init__(features, net)
        self.shape = MLP(1 + features, 4, shape, zero_init=True)

    def loss(
        self,
        true: Tensor,
        measured: Tensor,
        features: Tensor | None,
        scale: Tensor,
        weight: Tensor | None,
    ) -> Tensor:
        """See the base class; of the logarithm of the measured value over the true one."""
        centre = self.centre(true, features)
        away = (scale * (measured - centre)).exp() - 1  # (r - f) / f
        width, share, shift, wider = self.shape(true[:, None], features).unbind(1)
        log_width = width + START
        pull = away * (-log_width).exp()
        kappa = 1 + softplus(wider)
        tail = (pull - shift) / kappa
        half = logsigmoid(share) - math.log(2)  # ln a
        parts = torch.stack(
            [
                torch.log1p(-half.exp()) - 0.5 * pull.square(),
                half - 0.5 * tail.square() - kappa.log(),
            ]
        )
        density = parts.logsumexp(0) - log_width - scale * (centre - true)
        return -weighted_mean(density, weight)


START = math.log(0.2)
"""Logarithm of the relative width before training."""
