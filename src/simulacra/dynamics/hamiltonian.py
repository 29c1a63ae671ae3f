r"""Hamiltonian Monte Carlo: many chains at once that draw from a density known up to a factor.

With a momentum :math:`p \sim N(0, 1)` a state moves by leapfrog steps of size :math:`\epsilon`,

.. math:: p' = p + \tfrac\epsilon2 \nabla r(z), \qquad z' = z + \epsilon p', \qquad
          p'' = p' + \tfrac\epsilon2 \nabla r(z'),

and the end is taken with probability :math:`\min(1, e^{H - H'})`, :math:`H = p^2 / 2 - \ln \pi(z)`. The
leapfrog map keeps volumes and can be reversed whatever function :math:`r` is, so that the chains draw from
:math:`\pi` exactly also where :math:`r` is a smooth stand-in for :math:`\ln \pi`. That may have jumps then,
or cost much: it is asked for once per trajectory. A stand-in that is far off costs acceptance, nothing else.

The size of the steps is found while chains warm up by dual averaging of the acceptance of all chains, or
stays as given; a trajectory has as many of them as make its length. Under a standard normal density one of
length :math:`\pi / 2` ends where nothing tells where it began, and one of :math:`2 \pi` closes on itself.

References: Neal, arXiv:1206.1901, sections 5.2 and 5.3; Hoffman and Gelman, arXiv:1111.4246, section 3.2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Positive, Share, Whole

LogDensity = Callable[[Tensor], Tensor]
"""States ``(K, D)`` to logarithms of their density ``(K,)``, -inf where there is none."""
MOST = 100
"""Leapfrog steps of a trajectory, at most: a stand-in that is far off is not mended by more of them."""
SPREAD = 0.1
"""Of the size of the steps, relative to its mean: uniform within this on either side."""


@dataclass(frozen=True)
class Chains:
    """What chains have drawn.

    Args:
        states: ``(T, K, D)``: T draws of each of K chains.
        acceptance: Mean probability to accept a trajectory, after the warm-up.
        step: Size of the leapfrog steps after the warm-up.
    """

    states: Tensor
    acceptance: float
    step: float

    @property
    def r_hat(self) -> float:
        """The largest :func:`r_hat` of all components."""
        return float(r_hat(self.states).max())


@constructor
@dataclass(frozen=True)
class Hamiltonian:
    """See the module's docstring.

    Args:
        length: Length of a trajectory.
        step: Size of the leapfrog steps; where there is a target, at the start.
        warmup: Trajectories of each chain that are not kept.
        thin: Trajectories from one draw that is kept to the next.
        target: Mean acceptance that the size is found for in the warm-up (None: it stays).

    Raises:
        UserError: If a size is to be found, and there is no warm-up.
    """

    length: Positive
    step: Positive
    warmup: Whole
    thin: Count = 1
    target: Share | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not (self.warmup and 0 < self.target < 1):
            raise UserError(
                f"a target between 0 and 1 is met by a warm-up, got target={self.target} and "
                f"warmup={self.warmup}"
            )

    def run(
        self,
        density: LogDensity,
        start: Tensor,
        draws_each: int,
        generator: torch.Generator | None = None,
        guide: LogDensity | None = None,
    ) -> Chains:
        """Draw from a density.

        Args:
            density: Logarithm of the density.
            start: First state of each chain ``(K, D)``, where the density is above 0.
            draws_each: Draws that each chain keeps.
            generator: Source of all randomness.
            guide: Its differentiable stand-in ``r`` (None: the density itself).

        Raises:
            UserError: If a chain starts where the density is 0 or not a number.
        """
        slope = _slope(density if guide is None else guide)
        z, level = start.detach(), density(start.detach()).detach()
        if not bool(torch.isfinite(level).all()):
            lost = int((~torch.isfinite(level)).sum())
            raise UserError(
                f"{lost} of {len(z)} chains start where the density is 0 or not a number"
            )
        size, kept, accepted = _Size(self.step, self.target), [], []
        for number in range(self.warmup + draws_each * self.thin):
            warming = number < self.warmup
            spread = 1 + SPREAD * (2 * float(draws.uniform((1,), z, generator)) - 1)
            momentum = draws.normal(z.shape, z, generator)
            now = max(size.now(warming), self.length / MOST)
            steps = max(1, round(self.length / now))
            end, final = _leapfrog(z, momentum, slope, now * spread, steps)
            found = density(end).detach()
            gain = found - level + 0.5 * (momentum.square() - final.square()).sum(1)
            # a level that overflows is no better than one that is not a number
            known = ~(found.isnan() | found.isposinf() | gain.isnan())
            chance = torch.where(known, gain.clamp_max(0).exp(), 0.0)
            taken = draws.uniform(chance.shape, z, generator) < chance
            z = torch.where(taken[:, None], end, z)
            level = torch.where(taken, found, level)
            if warming:
                size.learn(float(chance.mean()))
                continue
            accepted.append(float(chance.mean()))
            if (number - self.warmup + 1) % self.thin == 0:
                kept.append(z)
        states = torch.stack(kept) if kept else z.new_zeros(0, *z.shape)
        return Chains(states, sum(accepted) / max(1, len(accepted)), size.now(False))


def _leapfrog(
    z: Tensor, momentum: Tensor, slope: LogDensity, size: float, steps: int
) -> tuple[Tensor, Tensor]:
    """End and final momentum of a trajectory."""
    momentum = momentum + 0.5 * size * slope(z)
    for number in range(steps):
        z = z + size * momentum
        momentum = momentum + (0.5 if number == steps - 1 else 1.0) * size * slope(z)
    return z, momentum


class _Size:
    """Dual averaging of the logarithm of the step size (arXiv:1111.4246, equation 6).

    Args:
        start: First size.
        target: Acceptance that is wanted, or None.
    """

    GAMMA, DELAY, DECAY = (
        0.2,
        10.0,
        0.75,
    )  # firmer than published: many chains are less noisy than one

    def __init__(self, start: float, target: float | None) -> None:
        self.target, self.centre = target, math.log(10 * start)
        self.size, self.mean = math.log(start), math.log(start)
        self.error, self.count = 0.0, 0

    def now(self, warming: bool) -> float:
        """Size of the next trajectory, in the warm-up or after it."""
        return math.exp(self.size if warming else self.mean)

    def learn(self, acceptance: float) -> None:
        """Take in the mean acceptance of a trajectory."""
        if self.target is None:
            return
        self.count += 1
        share = 1 / (self.count + self.DELAY)
        self.error = (1 - share) * self.error + share * (self.target - acceptance)
        self.size = self.centre - math.sqrt(self.count) / self.GAMMA * self.error
        weight = self.count**-self.DECAY
        self.mean = weight * self.size + (1 - weight) * self.mean


def _slope(function: LogDensity) -> LogDensity:
    """Gradient of each state's value."""

    def slope(z: Tensor) -> Tensor:
        with torch.enable_grad():
            at = z.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(function(at).sum(), at)
        return found

    return slope


def r_hat(states: Tensor) -> Tensor:
    r"""Potential scale reduction of each component ``(D,)``, chains cut in halves.

    .. math:: \hat R^2 = \frac{n - 1}n + \frac{B}{W},

    with the variance :math:`B` of the means of the halves and the mean :math:`W` of their variances, ``n``
    draws each: 1 where all halves look alike. A component that never moves is NaN.

    Args:
        states: ``(T, K, D)``, from four draws on.

    Raises:
        UserError: If there are fewer.

    Reference: Vehtari et al., arXiv:1903.08008, equations 1 to 4.
    """
    n = len(states) // 2
    if n < 2:
        raise UserError(f"R-hat needs at least four draws of each chain, got {len(states)}")
    halves = torch.cat([states[:n], states[-n:]], 1).double()  # (n, 2 K, D)
    between, within = halves.mean(0).var(0), halves.var(0).mean(0)
    return ((n - 1) / n + between / within).sqrt()
