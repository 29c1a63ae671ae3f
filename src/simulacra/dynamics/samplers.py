r"""Samplers that walk in signal and noise, on any path, with any prediction.

From a point of the walk with signal :math:`a` and noise :math:`s` to the next with :math:`b` and :math:`r`,
with the expected data :math:`\hat x` and noise :math:`\hat z = (x_t - a \hat x) / s`:

==================  ==============================================================================
sampler             step
==================  ==============================================================================
DDIM                :math:`b \hat x + \sqrt{r^2 - w^2}\, \hat z + w n`, :math:`n \sim N(0, 1)`
KarrasHeun          trapezoidal rule for :math:`x / a` as a function of :math:`s / a`
DPMSolver2M         exponential integrator, :math:`\hat x` extrapolated from the step before
EulerMaruyama       Euler step of the reverse stochastic differential equation
PredictorCorrector  the same, after steps of Langevin's equation at constant noise
==================  ==============================================================================

The width of DDIM's fresh noise is :math:`w = \eta \frac{r}{s} \sqrt{s^2 - (a r / b)^2}`, for :math:`\eta = 1`
that of the posterior of the chain, which makes it ancestral sampling.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from simulacra.core import UserError, draws
from simulacra.core.ranges import Count, NotNegative, Positive, Whole
from simulacra.dynamics.denoiser import Denoiser
from simulacra.dynamics.paths import Knot, Path, along
from simulacra.dynamics.solvers import Solver


@dataclass(frozen=True)
class Sampler(Solver):
    """A walk from noise to data in a number of steps, one evaluation each unless it says otherwise.

    A walk that skips its noisiest steps starts at a later point with as much noise as data of unit width are
    wide there: where nearly no signal is left, a small error of the network is a large one of the data.

    Args:
        steps: Number of steps.
        skip: Noisiest steps that are left out (CaloDiffusion, arXiv:2308.03876: 2 of 400).
    """

    steps: int
    skip: Whole = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a solver needs at least one step, got {self.steps}")
        if not 0 <= self.skip < self.steps:
            raise UserError(
                f"a walk of {self.steps} steps cannot skip {self.skip} of them: lower solver.skip"
            )

    @property
    def evaluations(self) -> int:
        """One per step."""
        return self.steps - self.skip

    def sample(
        self, denoiser: Denoiser, noise: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :meth:`Solver.sample`."""
        first = self.knots(denoiser.path)[0]
        width = math.hypot(first.signal, first.noise) if self.skip else denoiser.path.start
        return self.walk(width * noise, denoiser, generator)

    def knots(self, path: Path) -> tuple[Knot, ...]:
        """Points of the walk."""
        return path.knots(self.steps)[self.skip :]

    @abstractmethod
    def walk(self, x: Tensor, denoiser: Denoiser, generator: torch.Generator | None) -> Tensor:
        """Data that the walk from ``x``, ``(B, *)``, at its first point leads to."""


@dataclass(frozen=True)
class DDIM(Sampler):
    r"""Deterministic for ``eta=0``, ancestral sampling of a diffusion model (DDPM) for ``eta=1``.

    Args:
        steps: Number of steps, one evaluation each.
        eta: Fresh noise in units of that of ancestral sampling.

    Reference: Song et al. 2020, arXiv:2010.02502, equations 12 and 16.
    """

    eta: NotNegative = 0.0

    def walk(self, x: Tensor, denoiser: Denoiser, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Sampler.walk`."""
        for here, there in itertools.pairwise(self.knots(denoiser.path)):
            data = denoiser.data(x, here.t)
            found = (x - here.signal * data) / here.noise
            fresh = self.eta * _posterior_width(here, there)
            x = there.signal * data + math.sqrt(max(there.noise**2 - fresh**2, 0.0)) * found
            if fresh > 0:
                x = x + fresh * _normal(x, generator)
        return x


@dataclass(frozen=True)
class KarrasHeun(Sampler):
    """Second-order sampler whose last step leaps to the expected data.

    Where a path starts with no signal the first step is DDIM's.

    Args:
        steps: Number of steps, two evaluations each but for the last.

    Reference: Karras et al. 2022, arXiv:2206.00364, algorithm 1.
    """

    @property
    def evaluations(self) -> int:
        """Two per step, one for the last."""
        return 2 * super().evaluations - 1

    def walk(self, x: Tensor, denoiser: Denoiser, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Sampler.walk`."""
        knots = self.knots(denoiser.path)
        for number, (here, there) in enumerate(itertools.pairwise(knots), 2):
            data = denoiser.data(x, here.t)
            found = (x - here.signal * data) / here.noise
            guess = there.signal * data + there.noise * found
            if number == len(knots) or here.signal == 0:
                x = guess
                continue
            next_found = (guess - there.signal * denoiser.data(guess, there.t)) / there.noise
            ratio = there.signal / here.signal
            x = ratio * x + (there.noise - ratio * here.noise) * 0.5 * (found + next_found)
        return x


@dataclass(frozen=True)
class DPMSolver2M(Sampler):
    r"""DPM-Solver++(2M), an exponential integrator in :math:`\lambda = \ln(a / s)`.

    With :math:`h` the rise of :math:`\lambda` within the step,
    :math:`x \leftarrow \frac{r}{s} x - b\,(e^{-h} - 1)\, \hat x`, where :math:`\hat x` is extrapolated
    linearly to the middle of the step.

    Args:
        steps: Number of steps, one evaluation each.

    Reference: Lu et al. 2022, arXiv:2211.01095, algorithm 2.
    """

    def walk(self, x: Tensor, denoiser: Denoiser, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Sampler.walk`."""
        before: tuple[Tensor, float] | None = None  # expected data and rise of the step before
        for here, there in itertools.pairwise(self.knots(denoiser.path)):
            data = denoiser.data(x, here.t)
            rise = _log_ratio(there) - _log_ratio(here)
            seen = data
            if before is not None and math.isfinite(rise) and math.isfinite(before[1]):
                share = 0.5 * rise / before[1]
                seen = (1 + share) * data - share * before[0]
            x = there.noise / here.noise * x - there.signal * math.expm1(-rise) * seen
            before = data, rise
        return x


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    r"""The reverse stochastic differential equation with the noise of the forward one.

    :math:`dx = (v - \tfrac12 g^2 \hat z / s)\, dt + g\, dW` with
    :math:`g^2 = -2 s^2\, \frac{d}{dt} \ln(s / a)`; the last step has no fresh noise.

    The path must start with some signal, and a step may not change :math:`s / a` many times over.

    Args:
        steps: Number of steps, one evaluation each.

    Reference: Song et al. 2020, arXiv:2011.13456, equation 6.
    """

    def walk(self, x: Tensor, denoiser: Denoiser, generator: torch.Generator | None) -> Tensor:
        """See :meth:`Sampler.walk`."""
        for step in range(self.skip, self.steps):
            x = self.step(x, step, denoiser, generator)
        return x

    def step(
        self, x: Tensor, step: int, denoiser: Denoiser, generator: torch.Generator | None
    ) -> Tensor:
        """One step of number ``step``.

        Raises:
            UserError: If the path starts with no signal.
        """
        t, h = step / self.steps, 1 / self.steps
        a, s, da, ds = denoiser.path.values(t)
        if a == 0:
            raise UserError(
                f"{type(self).__name__} needs a path that starts with some signal, "
                f"{type(denoiser.path).__name__} starts with none: take another solver"
            )
        square = 2 * s * (da * s / a - ds)  # g^2
        data = denoiser.data(x, t)
        found = (x - a * data) / s
        drift = da * data + ds * found - 0.5 * square / s * found
        x = x + h * drift
        return x if step == self.steps - 1 else x + math.sqrt(square * h) * _normal(x, generator)


@dataclass(frozen=True)
class PredictorCorrector(EulerMaruyama):
    r"""Before each step of Euler and Maruyama, steps of Langevin's equation at the same noise.

    One such step is :math:`x + \epsilon \nabla \ln p + \sqrt{2 \epsilon - \epsilon^2 h}\, n` with the score
    :math:`-\hat z / s`, :math:`\epsilon = 2 (\rho s)^2`, and the mean :math:`h` of its square over an event.

    Args:
        steps: Number of steps, one evaluation each and one for each correction.
        corrections: Steps of Langevin's equation before each step.
        ratio: Ratio of signal to noise :math:`\rho` of a correction.

    Reference: Song et al. 2020, arXiv:2011.13456, algorithms 2 to 5.

    Note:
        The published :math:`\epsilon = 2 (\rho |n| / |\nabla \ln p|)^2` takes the norms of a batch, so that
        an event depends on its neighbours; here the score has the norm :math:`\sqrt D / s` of pure noise.
        Without the second term under the root, as published, each step widens the distribution: the square
        of the score is on average the curvature of :math:`-\ln p`, so that a Gaussian keeps its width.
    """

    corrections: Count = 1
    ratio: Positive = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio >= math.sqrt(0.5):
            raise UserError(
                f"a correction of ratio {self.ratio:g} removes more noise than there is: "
                "take one below 0.7, such as solver.ratio=0.2"
            )

    @property
    def evaluations(self) -> int:
        """One per step and correction."""
        return super().evaluations * (1 + self.corrections)

    def step(
        self, x: Tensor, step: int, denoiser: Denoiser, generator: torch.Generator | None
    ) -> Tensor:
        """See :meth:`EulerMaruyama.step`."""
        for _ in range(self.corrections):
            x = self.correct(x, step / self.steps, denoiser, generator)
        return super().step(x, step, denoiser, generator)

    def correct(
        self, x: Tensor, t: float, denoiser: Denoiser, generator: torch.Generator | None
    ) -> Tensor:
        """A step of Langevin's equation at time ``t``."""
        a, s, _, _ = denoiser.path.values(t)
        share = 2 * self.ratio**2  # of the noise that is drawn anew
        found = (x - a * denoiser.data(x, t)) / s
        square = along(found.flatten(1).square().mean(1), x)
        width = (share * (2 - share * square).clamp(min=0)).sqrt()
        return x + s * (width * _normal(x, generator) - share * found)


def _posterior_width(here: Knot, there: Knot) -> float:
    """Standard deviation of the less noisy point, given the noisier one and the data."""
    if there.noise == 0:
        return 0.0
    kept = here.signal / there.signal * there.noise
    return there.noise / here.noise * math.sqrt(max(here.noise**2 - kept**2, 0.0))


def _log_ratio(knot: Knot) -> float:
    """Logarithm of signal over noise, infinite at the ends of some paths."""
    if knot.noise == 0:
        return math.inf
    return math.log(knot.signal / knot.noise) if knot.signal > 0 else -math.inf


def _normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return draws.normal(x.shape, x, generator)
