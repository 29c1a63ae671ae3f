r"""Paths of score matching: noise is added to data by a stochastic differential equation.

At the depth :math:`\tau = 1 - (1 - \epsilon)\, t`, which runs from 1 at noise to :math:`\epsilon` at data,

==============  ====================================================  ==================================
path            signal                                                noise
==============  ====================================================  ==================================
exploding       1                                                     :math:`\sigma_0^{1-\tau} \sigma_1^\tau`
preserving      :math:`\exp(-\frac12 \int_0^\tau \beta)`              :math:`\sqrt{1 - a^2}`
sub-preserving  as above                                              :math:`1 - a^2`
==============  ====================================================  ==================================

with :math:`\beta` rising linearly in :math:`\tau`. The last has less noise than the second everywhere, and
the same ends.

References: Song et al. 2020, arXiv:2011.13456, equations 29 to 33 and appendix C; CaloScore,
arXiv:2206.11898, section 3.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core.ranges import Positive
from simulacra.dynamics.paths import Knot, Path


@dataclass(frozen=True)
class ExplodingPath(Path):
    r"""Data as they are, under noise whose logarithm falls evenly from that of ``high`` to that of ``low``.

    The walk of ``n`` steps has ``n`` evenly spaced times, and then leaps from the smallest noise to data.

    Args:
        low: Smallest noise :math:`\sigma_0`, in units of the data's standard deviation.
        high: Largest noise :math:`\sigma_1`.
    """

    low: Positive = 0.01
    high: Positive = 50.0

    @property
    def start(self) -> float:  # type: ignore[override]  # a constant of the other paths
        """Largest noise."""
        return self.high

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.scales`."""
        return torch.ones_like(t), self.high * torch.exp(-self._rate * t)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.slopes`."""
        return torch.zeros_like(t), -self._rate * self.scales(t)[1]

    def _walk(self, steps: int) -> list[Knot]:
        return self._leaping(steps)

    @property
    def _rate(self) -> float:
        return math.log(self.high / self.low)


@dataclass(frozen=True)
class _LinearBeta(Path):
    r"""Paths whose signal falls with :math:`\beta = \beta_0 + \tau (\beta_1 - \beta_0)`.

    Args:
        low: :math:`\beta_0`.
        high: :math:`\beta_1`.
        end: Depth :math:`\epsilon` at data; 0 would leave no noise there, on which a score diverges.
    """

    low: Positive = 0.1
    high: Positive = 20.0
    end: Positive = 1e-5

    @abstractmethod
    def _noise(self, square: Tensor) -> tuple[Tensor, Tensor]:
        """Noise, and its slope in the square of the signal, both from ``1 - a^2``."""

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.scales`."""
        log, _ = self._log(t)
        return log.exp(), self._noise(-torch.expm1(2 * log))[0]

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.slopes`."""
        log, rate = self._log(t)
        rise = log.exp() * rate
        return rise, 2 * log.exp() * rise * self._noise(-torch.expm1(2 * log))[1]

    def _log(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the signal and its derivative with respect to time."""
        depth, width = 1 - (1 - self.end) * t, self.high - self.low
        log = -0.25 * depth.square() * width - 0.5 * depth * self.low
        return log, (1 - self.end) * 0.5 * (depth * width + self.low)


@dataclass(frozen=True)
class PreservingPath(_LinearBeta):
    """Variance-preserving; see the module's docstring and, for the arguments, :class:`_LinearBeta`."""

    def _noise(self, square: Tensor) -> tuple[Tensor, Tensor]:
        s = square.sqrt()
        return s, -0.5 / s


@dataclass(frozen=True)
class SubPreservingPath(_LinearBeta):
    """Sub-variance-preserving; see the module's docstring and, for the arguments, :class:`_LinearBeta`."""

    def _noise(self, square: Tensor) -> tuple[Tensor, Tensor]:
        return square, -torch.ones_like(square)
