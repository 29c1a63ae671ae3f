r"""Training of one network on a path: flow matching and diffusion.

At a time :math:`t` drawn per event, the network sees :math:`x_t` and regresses the target of its
:class:`~simulacra.dynamics.denoiser.Prediction`; distances are averaged over the entries that count.

What is predicted and what is compared may differ. Expected data change by :math:`g_P` with what a network
predicts (:meth:`~simulacra.dynamics.denoiser.Prediction.gain`), so that a difference :math:`F - F_0` of what
is predicted is one of :math:`\pm (g_P / g_Q)(F - F_0)` of what is compared; on the straight path
:math:`g = 1 - t` for velocity, :math:`-(1 - t) / t` for noise, and 1 for data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core import counted_mean
from simulacra.core.constructors import constructor, role
from simulacra.core.errors import UserError
from simulacra.core.ranges import Dropout, Margin, NotNegative, Positive
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.denoiser import (
    AngularVelocity,
    Denoiser,
    Network,
    Noise,
    Preconditioned,
    Prediction,
    Velocity,
)
from simulacra.dynamics.paths import (
    Chain,
    CosinePath,
    KarrasPath,
    OptimalTransportPath,
    Path,
    along,
    stratified_times,
)


@role
class Times(ABC):
    """At what times a network learns."""

    @abstractmethod
    def draw(self, n: int, like: Tensor, path: Path, generator: torch.Generator | None) -> Tensor:
        """Times ``(n,)``."""


@dataclass(frozen=True)
class Uniform(Times):
    """Uniform and stratified, see :func:`~simulacra.dynamics.paths.stratified_times`."""

    def draw(self, n: int, like: Tensor, path: Path, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Times.draw`."""
        return stratified_times(n, like, generator)


@dataclass(frozen=True)
class LogNormal(Times):
    r"""Times at which :math:`\ln \sigma \sim N(m, w^2)`, stratified, for a :class:`KarrasPath`.

    Args:
        mean: ``m``.
        width: ``w``.

    Reference: Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    mean: float = -1.2
    width: float = 1.2

    def draw(self, n: int, like: Tensor, path: Path, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Times.draw`."""
        if not isinstance(path, KarrasPath):
            raise ValueError(f"log-normal noise needs a KarrasPath, got {type(path).__name__}")
        share = stratified_times(n, like, generator).clamp(1e-6, 1 - 1e-6)
        return path.time((self.mean + self.width * torch.special.ndtri(share)).exp())


@dataclass(frozen=True)
class LogitNormal(Times):
    r"""Times at which :math:`\ln \frac{t}{1 - t} \sim N(m, w^2)`, stratified.

    Args:
        mean: ``m``; above 0, times are nearer to data than to noise.
        width: ``w``.
        margin: What is kept free of times at both ends.

    Reference: Esser et al. 2024, arXiv:2403.03206, section 3.1.
    """

    mean: float = 0.0
    width: Positive = 1.0
    margin: Margin = 1e-5

    def draw(self, n: int, like: Tensor, path: Path, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Times.draw`."""
        share = stratified_times(n, like, generator).clamp(1e-6, 1 - 1e-6)
        times = (self.mean + self.width * torch.special.ndtri(share)).sigmoid()
        return times.clamp(self.margin, 1 - self.margin)


@dataclass(frozen=True)
class Links(Times):
    """Times of the links of a :class:`~simulacra.dynamics.paths.Chain`, uniform and stratified.

    Every event has its own, and none that of clean data.
    """

    def draw(self, n: int, like: Tensor, path: Path, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Times.draw`."""
        if not isinstance(path, Chain):
            raise ValueError(f"times of links need a Chain, got {type(path).__name__}")
        place = (stratified_times(n, like, generator) * path.steps).floor()
        return place.clamp_max(path.steps - 1) / path.steps


@role
class Distance(ABC):
    """What the regression minimises."""

    @abstractmethod
    def __call__(self, found: Tensor, target: Tensor, t: Tensor, path: Path) -> Tensor:
        """Distances, shaped as ``found``, ``(B, *)``; times ``(B, 1, ...)``."""


@dataclass(frozen=True)
class MeanSquare(Distance):
    """Squared difference; with a preconditioned network the weighting of arXiv:2206.00364."""

    def __call__(self, found: Tensor, target: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Distance.__call__`."""
        return (found - target).square()


@dataclass(frozen=True)
class WeightedHuber(Distance):
    r"""Huber distance of the noise times :math:`1 + w \beta / \sin\theta`, for a :class:`CosinePath`.

    The path has the angle :math:`\theta`, and :math:`\beta = 2 |\theta'| \tan\theta`: the second term leads
    towards the likelihood.

    Args:
        weight: ``w``.

    Reference: PC-JeDi, arXiv:2303.05376, section 3.
    """

    weight: float = 1e-4

    def __call__(self, found: Tensor, target: Tensor, t: Tensor, path: Path) -> Tensor:
        """See :meth:`Distance.__call__`."""
        (a, _), (_, ds) = path.scales(t), path.slopes(t)
        rate = -2 * ds / a.square()  # beta / sin: 2 |theta'| / cos, and s' = theta' cos
        return F.huber_loss(found, target, reduction="none") * (1 + self.weight * rate)


@constructor
@dataclass(frozen=True)
class Diffusion:
    """How a network is trained on a path, and what a sampler then sees of it.

    Args:
        path: Path between noise and data.
        predicts: What the network predicts.
        times: At what times it learns.
        distance: What is minimised.
        compared: In what the distance is taken, see the module's docstring (None: in what is predicted).
    """

    path: Path
    predicts: Prediction
    times: Times
    distance: Distance
    compared: Prediction | None = None

    def equip(self, net: nn.Module) -> None:
        """Give a fresh network what is asked of it beside points and time: nothing."""

    def loss(
        self,
        network: Bound,
        data: Tensor,
        noise: Tensor,
        counts: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean distance, or where entries count differently the sum of distances over that of the counts.

        Args:
            network: The network.
            data: Normalised data ``(B, *)``.
            noise: Standard normal, of the same shape.
            counts: How much each entry counts ``(B, *, 1)``, 0 where data and noise are padding, else the
                weight of the event (None: all the same).
            generator: Source of the times.
        """
        t = self.times.draw(len(data), data, self.path, generator)
        time = along(t, data)
        x, _ = self.path.at(t, noise, data)
        seen, number = self.predicts.inputs(x, time, self.path)
        found = network(seen, number.reshape(len(x)))
        target = self.predicts.target(time, noise, data, self.path)
        if self.compared is not None:
            weight = self.weight(time)
            found, target = weight * found, weight * target
        distance = self.distance(found, target, time, self.path)
        return distance.mean() if counts is None else counted_mean(distance, counts)

    def weight(self, t: Tensor) -> Tensor:
        """How large a difference of what is predicted is in what is compared, shaped as the times.

        What is divided by is at least 1e-3, as in CaloArt, arXiv:2605.12011.
        """
        if self.compared is None:
            return torch.ones_like(t)
        own, other = (part.gain(t, self.path).abs() for part in (self.predicts, self.compared))
        return own / other.clamp_min(1e-3)

    def denoiser(self, network: Network) -> Denoiser:
        """What a sampler sees."""
        return Denoiser(network, self.path, self.predicts)


@constructor
def flow_matching(
    sigma_min: Dropout = 1e-4,
    predicts: Prediction = Velocity(),  # noqa: B008
) -> Diffusion:
    """A network on the straight path, by default of velocities as in arXiv:2210.02747.

    Args:
        sigma_min: Width left around data at the end of the path.
        predicts: What the network predicts; for data that are about normal one by one
            :class:`~simulacra.dynamics.denoiser.ResidualVelocity`.
    """
    return Diffusion(OptimalTransportPath(sigma_min), predicts, Uniform(), MeanSquare())


@constructor
def noise_prediction(
    min_signal: Dropout = 0.02,
    min_noise: Dropout = 0.0,
    weight: NotNegative = 1e-4,
    skip: bool = False,
    bound: Positive = math.inf,
) -> Diffusion:
    r"""Noise on the cosine path with a weighted Huber distance, as in PC-JeDi, arXiv:2303.05376.

    Args:
        min_signal: Signal where sampling starts.
        min_noise: Noise where it ends.
        weight: Of the term that leads towards the likelihood.
        skip: Whether the noise is :math:`s x_t + a F` of the network's :math:`F`, which then is the angular
            velocity; a network that has learnt little is less wrong where the signal is weak.
        bound: Largest expected data, where the network predicts the noise itself.
    """
    path = CosinePath(min_signal, min_noise)
    predicts = AngularVelocity() if skip else Noise(bound)
    return Diffusion(path, predicts, Uniform(), WeightedHuber(weight))


@constructor
def angular_velocity(bound: Positive = 20.0) -> Diffusion:
    """``v`` on the cosine path whose log signal-to-noise ratio ends at ``±bound``, as in FPCD,
    arXiv:2304.01266.
    """
    smallest = (1 + math.exp(bound)) ** -0.5
    return Diffusion(CosinePath(smallest, smallest), AngularVelocity(), Uniform(), MeanSquare())


@constructor
def preconditioned(
    sigma_data: Positive = 1.0,
    sigma_min: Positive = 0.002,
    sigma_max: Positive = 80.0,
    mean: float = -1.2,
    width: Positive = 1.2,
) -> Diffusion:
    """Preconditioned denoiser on the Karras path, as in arXiv:2206.00364, table 1."""
    if sigma_min >= sigma_max:
        raise UserError(f"sigma_min must be below sigma_max, got {sigma_min:g} and {sigma_max:g}")
    path = KarrasPath(sigma_min, sigma_max)
    return Diffusion(path, Preconditioned(sigma_data), LogNormal(mean, width), MeanSquare())
