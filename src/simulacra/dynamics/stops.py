r"""Whether a list of hits ends.

A head gives the logit of a stop at each step. Where a stop counts :math:`w` times as much in training as a
step that goes on, the best logit lies :math:`\ln w` above that of the probability, so that much is taken off
before it is used: it is the probability of a stop that lists are drawn with, whatever the weight.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Dropout, Positive, Whole
from simulacra.nn.mlp import MLP


@role
class StopHead(nn.Module, ABC):
    """See the module's docstring.

    Args:
        least: Hits below which a list does not end.
        weight: ``w``.
    """

    apart: ClassVar[bool]
    """Whether it looks at the numbers of a step alone, and not at what the transformer makes of them."""

    def __init__(self, least: int, weight: float) -> None:
        super().__init__()
        self.least, self.weight = least, weight

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(...)`` as they are trained, from what it looks at ``(..., W)``."""

    @abstractmethod
    def start(self, stop: float) -> None:
        """Begin at about a probability of a stop."""

    def probability(self, x: Tensor) -> Tensor:
        """Logits ``(...)`` of the probability of a stop."""
        return self(x) - math.log(self.weight)

    def loss(self, x: Tensor, stop: Tensor) -> Tensor:
        """What is minimised ``(...)`` at steps that stop or do not."""
        weight = torch.as_tensor(self.weight, dtype=x.dtype, device=x.device)
        return functional.binary_cross_entropy_with_logits(
            self(x), stop.to(x), reduction="none", pos_weight=weight
        )


MakeStop = Callable[[int, int], StopHead]
"""From the width of what the transformer makes of a step, and from that of the numbers of a step."""


class LearnedStop(StopHead):
    """A logit of what the transformer makes of a step; with the other heads its loss is the likelihood.

    Args:
        features: Width of what it looks at.
        told: Width of the numbers of a step, which it does not need.
        least: Hits below which a list does not end.
    """

    apart = False

    def __init__(self, features: int, told: int, least: Whole = 0) -> None:
        super().__init__(least, 1.0)
        self.last = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`StopHead`."""
        found: Tensor = self.last(x)[..., 0]
        return found

    def start(self, stop: float) -> None:
        """See :class:`StopHead`."""
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, math.log(stop / (1 - stop)))


class StopClassifier(StopHead):
    """A classifier of its own, trained beside the transformer.

    Args:
        features: Width of what the transformer makes of a step, which it does not need.
        told: Width of the numbers of a step.
        hidden: Widths between the layers.
        dropout: Probability to drop a unit in training.
        weight: See :class:`StopHead`.
        least: Hits below which a list does not end.

    Reference: SPADE, arXiv:2606.11304.
    """

    apart = True

    def __init__(
        self,
        features: int,
        told: int,
        hidden: Sequence[Count],
        dropout: Dropout,
        weight: Positive,
        least: Whole,
    ) -> None:
        super().__init__(least, weight)
        self.net = MLP(told, 1, hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`StopHead`."""
        found: Tensor = self.net(x)[..., 0]
        return found

    def start(self, stop: float) -> None:
        """See :class:`StopHead`."""
        last = self.net.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, math.log(stop / (1 - stop)) + math.log(self.weight))
