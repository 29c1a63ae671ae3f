r"""What a network predicts on a path, and what follows from it.

On :math:`x_t = a x + s z` one prediction :math:`F` fixes the expected data :math:`\hat x`, the expected noise
:math:`\hat z = (x_t - a \hat x) / s` and the velocity :math:`a' \hat x + s' \hat z`:

================  =====================================  ========================================
predicts          target of the regression               data
================  =====================================  ========================================
velocity          :math:`a' x + s' z`                    :math:`(s F - s' x_t) / (s a' - s' a)`
residual          velocity beyond that of normal data    from the velocity, as above
noise             :math:`z`                              :math:`(x_t - s F) / a`
data              :math:`x`                              :math:`F`
score             :math:`-z`                             :math:`(x_t + s F) / a`
angular velocity  :math:`a z - s x` on a unit circle     :math:`a x_t - s F`
preconditioned    :math:`(x - c_{skip} x_t) / c_{out}`   :math:`c_{skip} x_t + c_{out} F`
hybrid            the same, on a unit circle             the same
================  =====================================  ========================================

A sampler sees a :class:`Denoiser` alone, so that every sampler works with every prediction.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Share
from simulacra.dynamics.paths import Path, along

Network = Callable[[Tensor, Tensor], Tensor]
"""``network(x, t)``: ``x`` of shape ``(B, *)`` and numbers ``(B,)`` that tell the time, to a tensor shaped
as ``x``."""


@role
class Prediction(ABC):
    """What a network predicts; ``t`` has the shape of ``x`` but for axes of length one."""

    def inputs(self, x: Tensor, t: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        """What the network sees: values and a number that tells the time, by default as they are."""
        return x, t

    @abstractmethod
    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """What the network should predict for noise and data that are known."""

    @abstractmethod
    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """Expected data, from what the network predicts."""

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """Expected velocity."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        data = self.data(found, x, t, path)
        return da * data + ds / s * (x - a * data)

    def gain(self, t: Tensor, path: Path) -> Tensor:
        """By how much the expected data change with what is predicted, shaped as ``t``."""
        one, none = torch.ones_like(t), torch.zeros_like(t)
        return self.data(one, none, t, path) - self.data(none, none, t, path)


class MeanPrediction(Prediction):
    """One that fixes mean velocities, too, where the network is told how long an interval is."""

    @abstractmethod
    def mean(self, found: Tensor, x: Tensor, t: Tensor, s: Tensor, path: Path) -> Tensor:
        """Mean velocity from a time to a later one ``s``, where both are the same that of the instant."""


@dataclass(frozen=True)
class Velocity(MeanPrediction):
    """Flow matching; arXiv:2210.02747, equation 21."""

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        da, ds = path.slopes(t)
        return da * data + ds * noise

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        return (s * found - ds * x) / (s * da - ds * a)

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`."""
        return found

    def mean(self, found: Tensor, x: Tensor, t: Tensor, s: Tensor, path: Path) -> Tensor:
        """See :meth:`MeanPrediction.mean`."""
        return found


@dataclass(frozen=True)
class ResidualVelocity(MeanPrediction):
    r"""Velocity beyond the one that independent normal data would have, in units of its width.

    .. math:: v = \frac{a a' + s s'}{w^2}\, x_t + \frac{|s a' - s' a|}{w}\, F, \qquad w^2 = a^2 + s^2.

    So a network that says nothing yet moves noise to normal numbers of the right width, and what it has to
    learn has unit width at every time. On a unit circle this is the angular velocity. The mean velocity of
    normal data from :math:`t` to :math:`r` is :math:`\frac{w_r - w_t}{(r - t)\, w_t}\, x_t`, so that one step
    of such a network makes normal numbers as well.

    Reference: the idea is that of arXiv:2206.00364, table 1, for velocities on any path.
    """

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        skip, width = self._factors(t, t, path)
        return (da * data + ds * noise - skip * (a * data + s * noise)) / width

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        return (s * self.velocity(found, x, t, path) - ds * x) / (s * da - ds * a)

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`."""
        return self.mean(found, x, t, t, path)

    def mean(self, found: Tensor, x: Tensor, t: Tensor, s: Tensor, path: Path) -> Tensor:
        """See :meth:`MeanPrediction.mean`; signal and noise are straight in time, or of unit variance."""
        skip, width = self._factors(t, s, path)
        return skip * x + width * found

    def _factors(self, t: Tensor, s: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        """Of points and of what is predicted, over an interval."""
        begin, end = (self._spread(time, path) for time in (t, s))
        (a, b), (da, db) = path.scales(t), path.slopes(t)
        # the square of the spread is one of times: its slope over an interval is that in the middle
        (c, d), (dc, dd) = path.scales((t + s) / 2), path.slopes((t + s) / 2)
        return 2 * (c * dc + d * dd) / (begin * (begin + end)), (b * da - db * a).abs() / begin

    def _spread(self, t: Tensor, path: Path) -> Tensor:
        a, s = path.scales(t)
        return (a.square() + s.square()).sqrt()


@dataclass(frozen=True)
class Noise(Prediction):
    """Denoising diffusion; arXiv:2006.11239, equation 14. The path must start with some signal, or a floor
    stand in for it.

    Args:
        bound: Largest expected data: where the signal is weak, an error of the noise is blown up.
        floor: Smallest signal that is divided by.
    """

    bound: float = math.inf
    floor: Share = 0.0

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        return noise

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        a, s = path.scales(t)
        signal = a.clamp_min(self.floor) if self.floor > 0 else a
        return ((x - s * found) / signal).clamp(-self.bound, self.bound)

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`; no division by the noise."""
        da, ds = path.slopes(t)
        return da * self.data(found, x, t, path) + ds * found


@dataclass(frozen=True)
class Data(Prediction):
    """The data themselves; arXiv:2605.12011.

    Args:
        floor: Smallest noise that is divided by: near the data an error is blown up in the velocity.
            A sampler that leaps to the expected data, such as ``KarrasHeun``, never divides by it.
    """

    floor: Share = 1e-3

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        return data

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        return found

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        return da * found + ds / s.clamp_min(self.floor) * (x - a * found)


@dataclass(frozen=True)
class Score(Prediction):
    r"""Score matching: the score :math:`\nabla \ln p(x_t)` is the network's output divided by the noise.

    With a plain mean square the loss is :math:`|s \nabla \ln p + z|^2`. The network sees
    :math:`x_t / \sqrt{a^2 + s^2}`, which for data of unit variance has unit variance on every path. The path
    must start with some signal.

    Args:
        bound: Largest expected data: where the signal is weak, an error of the score is blown up.

    Reference: Song et al. 2020, arXiv:2011.13456, equation 7; CaloScore, arXiv:2206.11898, equation 6.
    """

    bound: float = math.inf

    def inputs(self, x: Tensor, t: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        """See :meth:`Prediction.inputs`."""
        a, s = path.scales(t)
        return x / (a.square() + s.square()).sqrt(), t

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        return -noise

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        a, s = path.scales(t)
        return ((x + s * found) / a).clamp(-self.bound, self.bound)

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`; no division by the noise."""
        da, ds = path.slopes(t)
        return da * self.data(found, x, t, path) - ds * found


@dataclass(frozen=True)
class AngularVelocity(Prediction):
    """The ``v`` of progressive distillation, for paths of unit variance; arXiv:2202.00512, appendix D."""

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        a, s = path.scales(t)
        return a * noise - s * data

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        a, s = path.scales(t)
        return a * x - s * found

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`; no division by the noise."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        return da * (a * x - s * found) + ds * (s * x + a * found)


@dataclass(frozen=True)
class Preconditioned(Prediction):
    r"""Data with a network of unit inputs and targets, on a path of signal 1 and noise :math:`\sigma`.

    With :math:`\delta = \sigma - \sigma_0`

    .. math:: c_{skip} = \frac{\sigma_d^2}{\delta^2 + \sigma_d^2}, \quad
        c_{out} = \frac{\sigma_d\,\delta}{\sqrt{\sigma^2 + \sigma_d^2}}, \quad
        c_{in} = \frac{1}{\sqrt{\sigma^2 + \sigma_d^2}}.

    The time is told as :math:`\ln \sigma`, stretched to [0, 1] on the path.

    Args:
        sigma_data: :math:`\sigma_d`, standard deviation of the data.
        boundary: :math:`\sigma_0`; 0 for a denoiser, the smallest noise for a consistency model, which there
            is the identity.

    Reference: Karras et al. 2022, arXiv:2206.00364, table 1; Song et al. 2023, arXiv:2303.01469, appendix C.
    """

    sigma_data: float = 1.0
    boundary: float = 0.0

    def inputs(self, x: Tensor, t: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        """See :meth:`Prediction.inputs`; the ends of the path are the numbers 0 (noise) and 1 (data)."""
        s = path.scales(t)[1]
        first, last = (path.values(end)[1] for end in (0.0, 1.0))
        number = (s / first).log() / math.log(last / first)
        return x / (s.square() + self.sigma_data**2).sqrt(), number

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`."""
        s = path.scales(t)[1]
        skip, out = self._factors(s)
        return (data - skip * (data + s * noise)) / out

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        skip, out = self._factors(path.scales(t)[1])
        return skip * x + out * found

    def _factors(self, s: Tensor) -> tuple[Tensor, Tensor]:
        width, rest = self.sigma_data**2, s - self.boundary
        return width / (rest.square() + width), self.sigma_data * rest / (s.square() + width).sqrt()


@dataclass(frozen=True)
class Hybrid(Prediction):
    r"""Data with a skip, for paths of unit variance: between data where there is much noise, and noise where
    there is little.

    .. math:: c_{skip} = \frac{1}{1 + s^2}, \qquad c_{out} = \frac{s}{\sqrt{1 + s^2}}.

    The squared difference of the network's output weighs that of the data by :math:`1 + 1 / s^2`, as
    published. The network is told the noise.

    Reference: CaloDiffusion, arXiv:2308.03876, section 3.1 and its public code, for data set 3.
    """

    def inputs(self, x: Tensor, t: Tensor, path: Path) -> tuple[Tensor, Tensor]:
        """See :meth:`Prediction.inputs`."""
        return x, path.scales(t)[1]

    def target(self, t: Tensor, noise: Tensor, data: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.target`; written so that nothing is divided by the noise."""
        a, s = path.scales(t)
        return (s * (1 + 1 / (1 + a)) * data - noise) / (1 + s.square()).sqrt()

    def data(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.data`."""
        s = path.scales(t)[1]
        width = 1 + s.square()
        return x / width + s / width.sqrt() * found

    def velocity(self, found: Tensor, x: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Prediction.velocity`; no division by the noise."""
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        width = 1 + s.square()
        noise = s * (1 + 1 / (1 + a)) / width * x - a / width.sqrt() * found
        return da * self.data(found, x, t, path) + ds * noise


class Denoiser:
    """A network on a path, as a sampler sees it.

    Args:
        network: The network; what it is conditioned on is bound in it.
        path: Path that it was trained on.
        predicts: What it predicts.
    """

    def __init__(self, network: Network, path: Path, predicts: Prediction) -> None:
        self.network, self.path, self.predicts = network, path, predicts

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Expected velocity of ``x``, ``(B, *)``, at a time of shape ``()`` or ``(B,)``."""
        found, time = self._ask(x, t)
        return self.predicts.velocity(found, x, time, self.path)

    def data(self, x: Tensor, t: Tensor | float) -> Tensor:
        """Expected data."""
        found, time = self._ask(x, torch.as_tensor(t, device=x.device, dtype=x.dtype))
        return self.predicts.data(found, x, time, self.path)

    def mean(self, x: Tensor, t: float, s: float) -> Tensor:
        """Mean velocity of ``x`` from one time to a later one.

        Raises:
            UserError: If the network has learnt none.
        """
        raise UserError(
            "the solver mean needs a model that has learnt mean velocities, this one has learnt those of an "
            "instant: train it with a process such as mean_flow, or take another solver"
        )

    def _ask(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        time = along(t.expand(x.shape[0]), x)
        seen, number = self.predicts.inputs(x, time, self.path)
        return self.network(seen, number.reshape(x.shape[0])), time
