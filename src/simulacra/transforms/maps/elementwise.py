r"""Elementwise maps with exact inverses: logit, logarithm, standardisation.

Statistics are gathered by :class:`Moments` in one pass over a stream, in double precision.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from simulacra.transforms.maps.base import Map


class Moments:
    """Mean, standard deviation and largest value of the columns of a stream of ``(B, D)``, in double
    precision.
    """

    def __init__(self) -> None:
        self.count: Tensor | float = 0.0
        self.first: Tensor | float = 0.0
        self.second: Tensor | float = 0.0
        self.origin: Tensor | None = None
        self.highest: Tensor | float = -math.inf

    def add(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Take in rows ``(..., D)``; a mask ``(...)`` marks the rows that count."""
        rows = (x.flatten(0, -2) if mask is None else x[mask]).double()
        if len(rows):
            self.highest = torch.maximum(rows.amax(0), torch.as_tensor(self.highest).to(rows))
        if self.origin is None and len(rows):
            self.origin = rows.mean(0)  # sums of differences keep their digits
        if self.origin is not None:
            rows = rows - self.origin
        self.count += len(rows)
        self.first = self.first + rows.sum(0)
        self.second = self.second + rows.square().sum(0)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(D,)``; a constant column has standard deviation 1.

        Raises:
            ValueError: If nothing was added.
        """
        if (
            self.origin is None
            or not isinstance(self.first, Tensor)
            or not isinstance(self.second, Tensor)
        ):
            raise ValueError("no statistics: fit saw no events")
        mean = self.first / self.count
        std = (self.second / self.count - mean.square()).clamp(min=0).sqrt()
        floor = 1e-6 * (1 + (mean + self.origin).abs())
        return mean + self.origin, torch.where(std > floor, std, 1.0)


class Streamed(Map):
    """A map whose statistics come from one pass over a stream."""

    @abstractmethod
    def set(self, moments: Moments) -> None:
        """Set the statistics from a finished stream."""

    @abstractmethod
    def log_scale(self) -> Tensor:
        """Sum of the logarithms of the constants that the features are divided by."""


class Standardise(Streamed):
    """``(x - mean) / std`` for each of the last axis' features.

    Points outside a mask stay exactly as they are (0 by the contract) and do not count in the statistics.

    Args:
        features: ``D``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Set the statistics from all rows of ``x`` at once."""
        moments = Moments()
        moments.add(x, mask)
        self.set(moments)

    def set(self, moments: Moments) -> None:
        """Set the statistics from a finished stream."""
        mean, std = moments.result()
        self.mean.copy_(mean)
        self.std.copy_(std)

    def log_scale(self) -> Tensor:
        """See :class:`Streamed`."""
        return torch.log(self.std).sum()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """See the class."""
        y = (x - self.mean) / self.std
        return y if mask is None else torch.where(mask[..., None], y, x)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Undo :meth:`forward`."""
        x = y * self.std + self.mean
        return x if mask is None else torch.where(mask[..., None], x, y)


class Logit(Map):
    r"""``logit(alpha + (1 - 2 alpha) x)`` on [0, 1].

    Unlike a clamp at ``alpha`` this has an exact inverse; at ``alpha = 1e-6`` the image is within 13.82.

    Args:
        alpha: Distance from 0 and 1, below 1/2.
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        if not 0 <= alpha < 0.5:
            raise ValueError(f"logit needs 0 <= alpha < 0.5, got {alpha}")
        self.alpha = alpha

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """See the class.

        Raises:
            ValueError: If a value lies outside [0, 1].
        """
        if bool((x < 0).any() | (x > 1).any()):
            worst = float(x.min()) if bool((x < 0).any()) else float(x.max())
            raise ValueError(
                f"transform 'logit' needs values in [0, 1], got {worst:.6g}: fit EnergyFractions first"
            )
        p = self.alpha + (1 - 2 * self.alpha) * x
        q = self.alpha + (1 - 2 * self.alpha) * (
            1 - x
        )  # not 1 - p, which has no digits left near 1
        return torch.log(p) - torch.log(q)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Undo :meth:`forward`; results are clipped to [0, 1]."""
        p = 1 / (1 + torch.exp(-y))  # a runtime's sigmoid may have no digits left near 0
        return ((p - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)


class Log(Map):
    """``ln(x + offset)`` on ``x > -offset``.

    Args:
        offset: Added first, e.g. 1e-8; 0 for positive values.
        high: Largest argument of ``exp`` in the inverse, which would overflow beyond.
    """

    def __init__(self, offset: float = 0.0, high: float = 80.0) -> None:
        super().__init__()
        self.offset, self.high = offset, high

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """See the class.

        Raises:
            ValueError: If a value is not above ``-offset``.
        """
        if bool((x <= -self.offset).any()):
            raise ValueError(
                f"transform 'log' needs values above {-self.offset:.6g}, got {float(x.min()):.6g}"
            )
        return torch.log(x + self.offset)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Undo :meth:`forward`."""
        return torch.exp(y.clamp(max=self.high)) - self.offset


class Scale(Map):
    """Multiplication with a positive constant, for changes of unit.

    Args:
        factor: The constant.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        if not (factor > 0 and math.isfinite(factor)):
            raise ValueError(f"scale needs a positive factor, got {factor}")
        self.factor = factor

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``factor * x``."""
        return self.factor * x

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """``y / factor``."""
        return y / self.factor
