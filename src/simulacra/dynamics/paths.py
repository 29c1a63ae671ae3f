r"""Paths between noise and data, for flow matching and diffusion alike.

.. math:: x_t = a(t)\, x + s(t)\, z, \qquad z \sim N(0, 1),

with the signal :math:`a` and the noise :math:`s`. Convention of the whole package: :math:`t = 0` is noise
and :math:`t = 1` is data, so sampling integrates forwards. (Papers on diffusion, and EPiC-FM's, run the
other way; the two agree under :math:`t \to 1 - t`.)

A sampler that thinks in signal and noise, not in time, walks :meth:`Path.knots`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.core import draws
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive


class Knot(NamedTuple):
    """One point of a sampler's walk."""

    t: float
    """Time that the network is asked at."""
    signal: float
    noise: float


@role
class Path(ABC):
    """Signal and noise as functions of time; see the module's docstring."""

    start: float = 1.0
    """Standard deviation from which sampling starts, per unit of the noise ``z``."""

    @abstractmethod
    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise at times of any shape."""

    @abstractmethod
    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Their derivatives with respect to time."""

    def at(self, t: Tensor, noise: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Point and velocity, both shaped ``(B, *)`` as ``noise`` and ``data``, at the times ``(B,)``."""
        time = along(t, data)
        (a, s), (da, ds) = self.scales(time), self.slopes(time)
        return a * data + s * noise, da * data + ds * noise

    def knots(self, steps: int) -> tuple[Knot, ...]:
        """``steps + 1`` points from noise to data; a network is asked at all but the last."""
        return _knots(self, steps)

    def values(self, t: float) -> tuple[float, float, float, float]:
        """Signal, noise and their derivatives at one time."""
        return _values(self, t)

    def _walk(self, steps: int) -> list[Knot]:
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        signal, noise = self.scales(times)
        return list(map(Knot, times.tolist(), signal.tolist(), noise.tolist()))

    def _leaping(self, steps: int) -> list[Knot]:
        """The walk of a path of signal 1 that ends with a leap from the smallest noise to data."""
        times = torch.linspace(0, 1, steps, dtype=torch.float64)
        noise = self.scales(times)[1].tolist()
        return [*map(Knot, times.tolist(), [1.0] * steps, noise), Knot(1.0, 1.0, 0.0)]


@cache
def _knots(path: Path, steps: int) -> tuple[Knot, ...]:
    """Plain numbers, computed once: a graph that is traced holds them as constants."""
    return tuple(path._walk(steps))


@cache
def _values(path: Path, t: float) -> tuple[float, float, float, float]:
    """The same."""
    time = torch.tensor(t, dtype=torch.float64)
    (a, s), (da, ds) = path.scales(time), path.slopes(time)
    return float(a), float(s), float(da), float(ds)


@dataclass(frozen=True)
class OptimalTransportPath(Path):
    r"""Straight path :math:`x_t = t x + (1 - (1 - \sigma) t) z`, :math:`u = x - (1 - \sigma) z`.

    At :math:`t = 1` a width of :math:`\sigma` is left around each data value.

    Args:
        sigma_min: :math:`\sigma`.

    Reference: Lipman et al. 2022, arXiv:2210.02747, equations 22 and 23.
    """

    sigma_min: float = 1e-4

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.scales`."""
        return t, 1 - (1 - self.sigma_min) * t

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.slopes`."""
        return torch.ones_like(t), torch.full_like(t, self.sigma_min - 1)


@dataclass(frozen=True)
class CosinePath(Path):
    r"""Variance-preserving path on a quarter of a circle, :math:`x_t = \cos\theta\, x + \sin\theta\, z`.

    The angle falls evenly from :math:`\arccos` of the smallest signal to :math:`\arcsin` of the smallest
    noise. The logarithm of the signal-to-noise ratio, :math:`-2 \ln \tan \theta`, is that of the cosine
    schedule: smallest values of :math:`(1 + e^{20})^{-1/2}` bound it by :math:`\pm 20`.

    Args:
        min_signal: Signal at the end of noise.
        min_noise: Noise at the end of data.

    Reference: PC-JeDi, arXiv:2303.05376, equation 7; FPCD, arXiv:2304.01266, section III.
    """

    min_signal: float = 0.02
    min_noise: float = 0.0

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.scales`."""
        angle = self._angle(t)
        return angle.cos(), angle.sin()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.slopes`."""
        angle, rate = self._angle(t), self._rate
        return -rate * angle.sin(), rate * angle.cos()

    @property
    def _rate(self) -> float:
        return math.asin(self.min_noise) - math.acos(self.min_signal)

    def _angle(self, t: Tensor) -> Tensor:
        return math.acos(self.min_signal) + self._rate * t


@dataclass(frozen=True)
class KarrasPath(Path):
    r"""Variance-exploding path :math:`x_t = x + \sigma(t) z` with
    :math:`\sigma^{1/\rho} = \sigma_{max}^{1/\rho} + t\,(\sigma_{min}^{1/\rho} - \sigma_{max}^{1/\rho})`.

    The walk of ``n`` steps has ``n`` evenly spaced times, and then leaps from the smallest noise to data.

    Args:
        sigma_min: Smallest noise, in units of the data's standard deviation.
        sigma_max: Largest noise.
        rho: Exponent; larger values spend more steps on small noise.

    Reference: Karras et al. 2022, arXiv:2206.00364, equation 5.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    @property
    def start(self) -> float:  # type: ignore[override]  # a constant of the other paths
        """Largest noise."""
        return self.sigma_max

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.scales`."""
        first, rate = self._root
        return torch.ones_like(t), (first + rate * t) ** self.rho

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.slopes`."""
        first, rate = self._root
        return torch.zeros_like(t), self.rho * rate * (first + rate * t) ** (self.rho - 1)

    def time(self, noise: Tensor) -> Tensor:
        """When the noise has a given size, also beyond the ends."""
        first, rate = self._root
        return (noise ** (1 / self.rho) - first) / rate

    def _walk(self, steps: int) -> list[Knot]:
        return self._leaping(steps)

    @property
    def _root(self) -> tuple[float, float]:
        first = self.sigma_max ** (1 / self.rho)
        return first, self.sigma_min ** (1 / self.rho) - first


@dataclass(frozen=True)
class Chain(Path):
    r"""The discrete chain of a denoising diffusion model, :math:`a_k^2 = \prod_{j \le k} (1 - \beta_j)`;
    between its ``K`` times :math:`t = 1 - k / K` the logarithm of :math:`a` is interpolated linearly.

    Args:
        steps: ``K``.

    Reference: Ho et al. 2020, arXiv:2006.11239, equation 4.
    """

    steps: Count = 100

    @abstractmethod
    def betas(self) -> Tensor:
        r""":math:`\beta_1 \dots \beta_K`, float64 ``(K,)``."""

    @cached_property
    def _log(self) -> Tensor:
        """Logarithm of the signal at each step, float64 ``(K + 1,)``."""
        log = 0.5 * torch.log1p(-self.betas()).cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), log])

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.scales`."""
        log, _ = self._piece(t)
        return log.exp(), (-torch.expm1(2 * log)).clamp_min(0).sqrt()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Path.slopes`; the noise falls infinitely fast at ``t = 1``, where its slope is cut."""
        _, rate = self._piece(t)
        a, s = self.scales(t)
        return a * rate, -a.square() * rate / s.clamp_min(1e-4)

    def _piece(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the signal and its slope."""
        table = self._log.to(t)
        place = ((1 - t) * self.steps).clamp(0, self.steps)
        left = place.floor().long().clamp_max(self.steps - 1)
        rise = table[left + 1] - table[left]
        return table[left] + (place - left) * rise, -self.steps * rise


@dataclass(frozen=True)
class BetaPath(Chain):
    r"""A chain with evenly spaced :math:`\sqrt{\beta_j}` ("quadratic").

    Args:
        steps: ``K``.
        low: First :math:`\beta`.
        high: Last one.

    Reference: CaloClouds, arXiv:2305.04847, section 3.
    """

    low: Positive = 1e-4
    high: Positive = 0.02

    def betas(self) -> Tensor:
        """See :meth:`Chain.betas`."""
        ends = math.sqrt(self.low), math.sqrt(self.high)
        return torch.linspace(*ends, self.steps, dtype=torch.float64).square()


@dataclass(frozen=True)
class CosineChain(Chain):
    r"""A chain whose signal follows a cosine, :math:`a_k \propto \cos\frac{\pi}{2} \frac{k / K + o}{1 + o}`,
    with :math:`\beta_j` between :math:`10^{-4}` and 0.9999.

    Args:
        steps: ``K``.
        offset: ``o``, which keeps the first steps from being too small.

    Reference: Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17; CaloDiffusion, arXiv:2308.03876.
    """

    steps: Count = 400
    offset: Positive = 0.008

    def betas(self) -> Tensor:
        """See :meth:`Chain.betas`."""
        place = torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)
        square = ((place + self.offset) / (1 + self.offset) * (math.pi / 2)).cos().square()
        return (1 - square[1:] / square[:-1]).clamp(1e-4, 0.9999)


def along(t: Tensor, x: Tensor) -> Tensor:
    """Values ``(B,)`` with axes of length one added, as those of ``x``, ``(B, *)``."""
    return t.view(-1, *[1] * (x.ndim - 1))


def stratified_times(n: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Times uniform in [0, 1], one in each of ``n`` equal intervals up to a common shift: ``(n,)``.

    Each time by itself is uniform; together they cover the interval evenly, which lowers the
    variance of the loss.
    """
    shift = draws.uniform((), like, generator)
    return (torch.arange(n, device=like.device, dtype=like.dtype) / n + shift) % 1
