r"""Mean velocities: flow matching whose network leads from noise to data in one step, without a teacher.

With the velocity :math:`v` of a flow, its mean between two times :math:`t \le s`,

.. math:: u(x_t, t, s) = \frac{1}{s - t} \int_t^s v(x_\tau, \tau)\, d\tau,

carries a point from one to the other, :math:`x_s = x_t + (s - t)\, u`, and is the velocity itself where the
interval is empty. A network of points, time and *length* :math:`s - t` regresses the velocity of the path
where the interval is empty, and in a share of events what follows from itself, held fixed:

*Slope*: the derivative of :math:`(s - t)\, u` by :math:`t` along the flow says that
:math:`u = v + (s - t)\, \frac{du}{dt}` with :math:`\frac{du}{dt} = w \cdot \nabla_x u + \partial_t u`, one
forward-mode product. The regression of ``u`` on that is the one of
:math:`V = u - (s - t)\, \frac{du}{dt}` on the velocity of the path. In the improved form the derivative goes
along the network's own velocity, :math:`w = u(x_t, t, t)`, in the first one along that of the path, which is
the same with noise on top.

*Split*: with any time :math:`r` in between, :math:`(s - t)\, u(x_t, t, s) = (r - t)\, u(x_t, t, r) +
(s - r)\, u(x_r, r, s)`, and no derivative at all.

A network takes the length by :func:`~simulacra.nn.time_features.take_lengths`, which adds an embedding of it
to the features of the time and starts it at zero: whatever network there is can learn mean velocities, and
starts where a plain one has ended.

References: Geng et al. 2025, arXiv:2505.13447, equations 6 and 9 to 11; Geng et al. 2025, arXiv:2512.02012,
section 4; Guo et al. 2025, arXiv:2507.16884, equation 9. There time runs from data to noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from simulacra.core import counted_mean, draws
from simulacra.core.constructors import constructor, role
from simulacra.core.ranges import Dropout, NotNegative, Positive, Share
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.denoiser import Denoiser, MeanPrediction, Network, Velocity
from simulacra.dynamics.diffusion import Diffusion, LogitNormal, MeanSquare
from simulacra.dynamics.paths import OptimalTransportPath, Path, along
from simulacra.nn.time_features import take_lengths

MeanVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of points ``(B, *)``, times ``(B,)`` and lengths ``(B,)`` to ``(B, *)``."""


def mean_velocity(network: Network, predicts: MeanPrediction, path: Path) -> MeanVelocity:
    """What a network of points and both time and length ``(B, 2)`` says of mean velocities."""

    def mean(x: Tensor, t: Tensor, length: Tensor) -> Tensor:
        found = network(x, torch.stack([t, length], -1))
        return predicts.mean(found, x, along(t, x), along(t + length, x), path)

    return mean


@role
class Goal(ABC):
    """What the mean velocity over an interval should be; see the module's docstring."""

    @abstractmethod
    def __call__(
        self,
        mean: MeanVelocity,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        velocity: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Goals ``(B, *)``, called without gradients.

        Args:
            mean: Learns.
            x: Points ``(B, *)``.
            t: Beginning of each interval ``(B,)``.
            s: Its end ``(B,)``.
            velocity: That of the path ``(B, *)``.
            generator: Source of randomness.
        """


@dataclass(frozen=True)
class Slope(Goal):
    r""":math:`v + (s - t)\, du/dt`, by forward-mode differentiation.

    Args:
        own: Whether the derivative goes along the network's own velocity, or along that of the path.

    Note:
        Fused attention has no forward-mode derivative, so that of plain matrix products is used. Dropout has
        one mask for a value and its derivative. Features of the time that change very fast, such as
        :class:`~simulacra.nn.fourier.Sinusoids` of a thousand steps, have derivatives that blow up small
        errors: such networks learn from split intervals. One step on a ring has a sliced W1 of 1.4 by the
        slope, 0.48 with a power of 0.5 and 0.13 by split intervals; 0.095 by the slope with sinusoids of ten
        steps. Slower sinusoids do not cure a transformer of showers (distances of 0.45, 0.38 and 0.58 with
        1000, 100 and 10 steps and that power, 0.32 by split intervals; one seed each).
    """

    own: bool = True

    def __call__(
        self,
        mean: MeanVelocity,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        velocity: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """See :meth:`Goal.__call__`."""
        along_it = mean(x, t, torch.zeros_like(t)) if self.own else velocity
        return velocity + along(s - t, x) * slope(mean, x, t, s - t, along_it)


def slope(mean: MeanVelocity, x: Tensor, t: Tensor, length: Tensor, direction: Tensor) -> Tensor:
    """Derivative ``(B, *)`` of the mean velocity by the beginning of its interval, whose end is fixed.

    Args:
        mean: The mean velocity.
        x: Points ``(B, *)``.
        t: Beginning of each interval ``(B,)``.
        length: Its length ``(B,)``.
        direction: Derivative of the points ``(B, *)``.
    """
    one = torch.ones_like(t)
    with sdpa_kernel(SDPBackend.MATH):
        value: Tensor = jvp(mean, (x, t, length), (direction, one, -one))[1]
    return value


@dataclass(frozen=True)
class Split(Goal):
    """Both parts of an interval that is split at a uniform time."""

    def __call__(
        self,
        mean: MeanVelocity,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        velocity: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """See :meth:`Goal.__call__`."""
        share = draws.uniform(t.shape, t, generator)
        middle = t + share * (s - t)
        first = mean(x, t, middle - t)
        between = x + along(middle - t, x) * first
        second = mean(between, middle, s - middle)
        return along(share, x) * first + along(1 - share, x) * second


@constructor
@dataclass(frozen=True)
class MeanFlow(Diffusion):
    r"""Training of a network of mean velocities; any solver samples it, and
    :class:`~simulacra.dynamics.solvers.Mean` does in one or a few steps.

    Args:
        path: See :class:`Diffusion`, as the next four.
        predicts: What the network predicts.
        times: Two of them are drawn per event and sorted.
        distance: What is minimised.
        compared: In what.
        goal: What the mean velocity over an interval should be.
        share: Of events whose interval is not empty.
        power: ``p``; the distance of an event is divided by :math:`(d + 0.01)^p` of its own mean ``d``, held
            fixed, so that large ones rule less (and what is learnt is no longer quite the mean); 0: not at
            all.
    """

    predicts: MeanPrediction
    goal: Goal = Slope()
    share: Share = 0.5
    power: NotNegative = 0.0

    def equip(self, net: nn.Module) -> None:
        """See :meth:`Diffusion.equip`: the network takes the length of the interval, too."""
        take_lengths(net)

    def loss(
        self,
        network: Bound,
        data: Tensor,
        noise: Tensor,
        counts: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Diffusion.loss`."""
        t, s, filled = self.intervals(len(data), data, generator)
        x, velocity = self.path.at(t, noise, data)
        goal = velocity
        if len(filled):
            with torch.no_grad():
                seen, begin, end, known = (value[filled] for value in (x, t, s, velocity))
                mean = mean_velocity(network.of(filled), self.predicts, self.path)
                wanted = self.goal(mean, seen, begin, end, known, generator)
            goal = velocity.index_copy(0, filled, wanted.to(velocity.dtype))
        found = mean_velocity(network, self.predicts, self.path)(x, t, s - t)
        distance = self.distance(found, goal, along(t, data), self.path)
        if self.power > 0:
            distance = distance * along(self.tamed(distance.detach(), counts), data)
        return distance.mean() if counts is None else counted_mean(distance, counts)

    def intervals(
        self, n: int, like: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Beginning and end ``(n,)`` of each event's interval, and the rows of those that are not empty."""
        one, two = (self.times.draw(n, like, self.path, generator) for _ in range(2))
        two = two[
            draws.permutation(n, like, generator)
        ]  # each of the draws covers the times in order
        filled = draws.permutation(n, like, generator)[: round(self.share * n)]
        t = torch.minimum(one, two)
        return t, t.index_copy(0, filled, torch.maximum(one, two)[filled]), filled

    def tamed(self, distance: Tensor, counts: Tensor | None) -> Tensor:
        """Weight ``(B,)`` of each event by its own mean distance, from distances ``(B, *)``."""
        counts = torch.ones_like(distance) if counts is None else counts.expand_as(distance)
        mean = (distance * counts).flatten(1).sum(1) / counts.flatten(1).sum(1).clamp_min(1e-12)
        return (mean + 0.01) ** -self.power

    def denoiser(self, network: Network) -> Denoiser:
        """See :meth:`Diffusion.denoiser`."""
        return MeanDenoiser(network, self.path, self.predicts)


class MeanDenoiser(Denoiser):
    """What a sampler sees of a network of mean velocities: its velocity is that over no time.

    Args:
        network: The network, of points and both time and length ``(B, 2)``.
        path: Path that it was trained on.
        predicts: What it predicts.
    """

    def __init__(self, network: Network, path: Path, predicts: MeanPrediction) -> None:
        super().__init__(self._instant, path, predicts)
        self._network = network
        self._mean = mean_velocity(network, predicts, path)

    def mean(self, x: Tensor, t: float, s: float) -> Tensor:
        """See :meth:`Denoiser.mean`."""
        begin, length = torch.tensor([t, s - t], device=x.device, dtype=x.dtype)
        return self._mean(x, begin.expand(x.shape[0]), length.expand(x.shape[0]))

    def _instant(self, x: Tensor, t: Tensor) -> Tensor:
        return self._network(x, torch.stack([t, torch.zeros_like(t)], -1))


@constructor
def mean_flow(
    sigma_min: Dropout = 1e-4,
    share: Share = 0.75,
    mean: float = 0.0,
    width: Positive = 1.8,
    own: bool = True,
    power: NotNegative = 0.5,
    predicts: MeanPrediction = Velocity(),  # noqa: B008
) -> MeanFlow:
    """Mean velocities on the straight path by their slope.

    Args:
        sigma_min: Width left around data at the end of the path.
        share: Of events whose interval is not empty.
        mean: Of the logit of times.
        width: Its standard deviation.
        own: Whether the slope goes along the network's own velocity (improved form, arXiv:2512.02012) or
            along that of the path (first form, arXiv:2505.13447).
        power: Of an event's own mean distance that its distance is divided by.
        predicts: What the network predicts, the same as one whose weights it begins from.

    Note:
        Means and shares are ours. Times of width 1, as in the papers, hardly ever make an interval from noise
        to data, which is the one that a single step takes: on a ring its sliced W1 is 0.18, and 0.10 with 1.8
        and a smaller power; much wider ones let the slope diverge, and split intervals do well with 2.5.
    """
    return _straight(sigma_min, LogitNormal(mean, width), Slope(own), share, power, predicts)


@constructor
def split_mean_flow(
    sigma_min: Dropout = 1e-4,
    share: Share = 0.75,
    mean: float = 0.0,
    width: Positive = 2.5,
    power: NotNegative = 0.0,
    predicts: MeanPrediction = Velocity(),  # noqa: B008
) -> MeanFlow:
    """Mean velocities on the straight path by split intervals, see :func:`mean_flow`; arXiv:2507.16884."""
    return _straight(sigma_min, LogitNormal(mean, width), Split(), share, power, predicts)


def _straight(
    sigma_min: float,
    times: LogitNormal,
    goal: Goal,
    share: float,
    power: float,
    predicts: MeanPrediction,
) -> MeanFlow:
    return MeanFlow(
        OptimalTransportPath(sigma_min), predicts, times, MeanSquare(),
        goal=goal, share=share, power=power,
    )  # fmt: skip
