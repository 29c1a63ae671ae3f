r"""Calibration of a classifier before its odds become weights.

A network that has learnt some of its training sample by heart is too sure. Its logits :math:`f` on events
of validation are mapped by a monotone function so that the cross entropy there is smallest:

- :class:`Temperature`: :math:`a f` with :math:`a = 1 / T \ge 0` (Guo et al., arXiv:1706.04599); 0, so that
  all weights are 1, where the classifier has found nothing that holds on other events;
- :class:`Isotonic`: any monotone function (Zadrozny and Elkan, KDD 2002), here between knots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor, nn

from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive


@role
class Calibration(nn.Module, ABC):
    """A monotone function of logits whose numbers are buffers; the identity before it is fitted."""

    @abstractmethod
    def fit(self, logit: Tensor, label: Tensor, weight: Tensor) -> None:
        """Take logits, labels (0 or 1) and event weights, each ``(n,)``."""

    @abstractmethod
    def forward(self, logit: Tensor) -> Tensor:
        """Calibrated logits ``(n,)``."""


class Temperature(Calibration):
    """See the module's docstring.

    Args:
        steepest: Largest ``a``.
    """

    slope: Tensor
    STEPS = 50

    def __init__(self, steepest: Positive = 10.0) -> None:
        super().__init__()
        self.steepest = steepest
        self.register_buffer("slope", torch.tensor(1.0))

    def fit(self, logit: Tensor, label: Tensor, weight: Tensor) -> None:
        """By bisection: the entropy is convex in the slope."""
        f, y, w = (value.detach().double().cpu() for value in (logit, label, weight))

        def rises(slope: float) -> bool:
            return float((w * f * (torch.sigmoid(slope * f) - y)).sum()) >= 0

        low, high = 0.0, self.steepest
        if rises(low):
            high = 0.0
        for _ in range(self.STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if rises(middle) else (middle, high)
        self.slope.fill_(high)

    def forward(self, logit: Tensor) -> Tensor:
        return self.slope * logit


class Isotonic(Calibration):
    """See the module's docstring.

    Args:
        knots: Knots, at quantiles of the logits of validation; linear between them, constant beyond.
    """

    place: Tensor
    value: Tensor
    fitted: Tensor

    def __init__(self, knots: Count = 65) -> None:
        super().__init__()
        self.register_buffer("place", torch.linspace(-1, 1, max(knots, 2)))
        self.register_buffer("value", self.place.clone())
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, logit: Tensor, label: Tensor, weight: Tensor) -> None:
        """Probabilities keep as far from 0 and 1 as one event is of all."""
        f, y, w = (value.detach().double().cpu() for value in (logit, label, weight))
        least = 1 / (len(f) + 2)
        curve = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        curve.fit(f.numpy(), y.numpy(), sample_weight=w.numpy())
        place = torch.quantile(f, torch.linspace(0, 1, len(self.place), dtype=torch.float64))
        share = torch.from_numpy(curve.predict(place.numpy()))
        self.place.copy_(place)
        self.value.copy_(torch.logit(share))
        self.fitted.fill_(True)

    def forward(self, logit: Tensor) -> Tensor:
        if not bool(self.fitted):
            return logit
        right = torch.searchsorted(self.place, logit.contiguous()).clamp(1, len(self.place) - 1)
        low, high = self.place[right - 1], self.place[right]
        share = ((logit - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
        return self.value[right - 1] + share * (self.value[right] - self.value[right - 1])
