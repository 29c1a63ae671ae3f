r"""What a critic and a generator play for: the losses of both, as objects.

With scores :math:`D` of true events :math:`x` and of generated ones :math:`G`, and
:math:`\zeta(s) = \ln(1 + e^s)`,

====================  =============================================  =======================
game                  the critic minimises                           the generator minimises
====================  =============================================  =======================
:class:`BinaryGame`   :math:`E[\zeta(-D(x))] + E[\zeta(D(G))]`       :math:`E[\zeta(-D(G))]`
:class:`Regularised`  the same and a penalty                         the same
:class:`Hinge`        :math:`E[(1 - D(x))_+] + E[(1 + D(G))_+]`      :math:`-E[D(G)]`
:class:`LeastSquares` :math:`E[(D(x) - 1)^2 + D(G)^2] / 2`           :math:`E[(D(G) - 1)^2] / 2`
:class:`Wasserstein`  :math:`E[D(G)] - E[D(x)]` and a penalty        :math:`-E[D(G)]`
====================  =============================================  =======================

Expectations are means over weighted events; a generated event has the weight of the true one whose conditions
it was made for. A critic may also name the class of an event (:class:`Labels`), for which the generator is
rewarded, too.

References: Goodfellow et al., arXiv:1406.2661, section 3; Lim and Ye, arXiv:1705.02894; Mao et al.,
arXiv:1611.04076; Gulrajani et al., arXiv:1704.00028; Roth et al., arXiv:1705.09367, for the penalty of
:class:`Regularised`; Odena et al., arXiv:1610.09585, section 3, for classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import UserError, draws, weighted_mean
from simulacra.core.constructors import constructor, role
from simulacra.core.ranges import NotNegative, Share
from simulacra.dynamics.adversarial import (
    Score,
    error_slope,
    gradient_penalty,
    least_squares,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.nn.minibatch import batch_statistics


@role
class Game(ABC):
    """Losses of scores ``(B, 1)``, see the module's docstring."""

    one_by_one: ClassVar[bool] = False
    """Whether the critic must look at every event by itself, since its slope at one event is bounded."""

    @abstractmethod
    def critic(
        self,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What the critic minimises, a scalar.

        Args:
            real: Scores of true events.
            fake: Scores of generated events.
            weight: Event weights ``(B,)`` of both, or None.
            generator: Source of what is drawn, where anything is.
        """

    @abstractmethod
    def generator(self, fake: Tensor, weight: Tensor | None = None) -> Tensor:
        """What the generator minimises, a scalar."""

    def penalty(
        self,
        score: Score,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor | None:
        """What is added to the critic's loss, or None.

        Args:
            score: The critic of events ``(B, *)`` alone.
            real: True events.
            fake: Generated events.
            weight: Event weights ``(B,)`` of both, or None.
            generator: Source of what is drawn.
        """
        return None

    def critic_loss(
        self,
        score: Score,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """All that a critic of scores alone minimises, its parts by name and their sum as ``loss``.

        Args:
            score: See :meth:`penalty`, as the others.
            real: True events.
            fake: Generated events.
            weight: Event weights.
            generator: Source of what is drawn.
        """
        values = {"game": self.critic(score(real), score(fake), weight, generator)}
        penalty = self.penalty(score, real, fake, weight, generator)
        if penalty is not None:
            values["penalty"] = penalty
        return {"loss": torch.stack(list(values.values())).sum(), **values}

    def check(self, critic: nn.Module) -> None:
        """Refuse a critic that looks at several events at once where its slope at one event is bounded.

        Raises:
            UserError: If it does.
        """
        shared = batch_statistics(critic)
        if self.one_by_one and shared:
            raise UserError(
                f"{type(self).__name__} bounds the slope of the critic at each event, but "
                f"{' and '.join(shared)} of the critic look at several events at once: leave them out"
            )


class BinaryGame(Game):
    """Cross-entropy of true and generated.

    Args:
        flip: Share of events that the critic is told are the other kind, so that it is never sure.
    """

    def __init__(self, flip: Share = 0.0) -> None:
        self.flip = flip

    def critic(
        self,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Game.critic`."""
        return self._entropy(real, 1.0, weight, generator) + self._entropy(
            fake, 0.0, weight, generator
        )

    def generator(self, fake: Tensor, weight: Tensor | None = None) -> Tensor:
        """See :meth:`Game.generator`; no label is flipped."""
        return weighted_mean(functional.softplus(-fake), weight)

    def _entropy(
        self, score: Tensor, truth: float, weight: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        target = torch.full_like(score, truth)
        if self.flip > 0:
            flipped = draws.uniform(score.shape, score, generator) < self.flip
            target = torch.where(flipped, 1 - target, target)
        return weighted_mean(functional.softplus(score) - target * score, weight)


class Regularised(BinaryGame):
    r"""Cross-entropy, and a penalty that keeps the critic flat where it errs.

    .. math:: \frac{\gamma}{2} \left( E[(1 - \sigma(D))^2 \|\nabla_x D\|^2]_x
              + E[\sigma(D)^2 \|\nabla_x D\|^2]_G \right).

    The penalty is what noise on both kinds of events would do in the mean, so that a critic of samples that
    hardly overlap still tells the generator where to go.

    Args:
        slope: The weight :math:`\gamma`.

    Reference: Roth, Lucchi, Nowozin, Hofmann, arXiv:1705.09367.
    """

    one_by_one = True

    def __init__(self, slope: NotNegative) -> None:
        super().__init__()
        self.slope = slope

    def penalty(
        self,
        score: Score,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Game.penalty`; nothing is drawn."""
        terms = [
            error_slope(score, events, sign, weight) for events, sign in ((real, -1), (fake, 1))
        ]
        return self.slope / 2 * torch.stack(terms).sum()


class Hinge(Game):
    """Scores beyond 1 on true and below -1 on generated events are good enough."""

    def critic(
        self,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Game.critic`."""
        return weighted_mean((1 - real).relu(), weight) + weighted_mean((1 + fake).relu(), weight)

    def generator(self, fake: Tensor, weight: Tensor | None = None) -> Tensor:
        """See :meth:`Game.generator`."""
        return -weighted_mean(fake, weight)


class LeastSquares(Game):
    """Squared distances of scores from 1 on true and 0 on generated events."""

    def critic(
        self,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Game.critic`."""
        return least_squares(real, 1.0, weight) + least_squares(fake, 0.0, weight)

    def generator(self, fake: Tensor, weight: Tensor | None = None) -> Tensor:
        """See :meth:`Game.generator`."""
        return least_squares(fake, 1.0, weight)


class Wasserstein(Game):
    """Distance of true and generated events by a critic of slope 1.

    Args:
        slope: Weight of the gradient penalty.
    """

    one_by_one = True

    def __init__(self, slope: NotNegative = 10.0) -> None:
        self.slope = slope

    def critic(
        self,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Game.critic`."""
        return wasserstein_critic_loss(real, fake, weight)

    def generator(self, fake: Tensor, weight: Tensor | None = None) -> Tensor:
        """See :meth:`Game.generator`."""
        return wasserstein_generator_loss(fake, weight)

    def penalty(
        self,
        score: Score,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`Game.penalty`."""
        return self.slope * gradient_penalty(score, real, fake, generator, weight=weight)


@constructor
@dataclass(frozen=True)
class Labels:
    """The class of an event as a second thing that a critic is asked, by cross-entropy.

    Args:
        weight: Weight of the term in the losses of both players.
        critic_flip: Share of generated events of which the critic is told another class.
        generator_flip: Share of them for which the generator is rewarded for another class.
    """

    weight: NotNegative
    critic_flip: Share
    generator_flip: Share

    def critic(
        self,
        real: Tensor,
        fake: Tensor,
        classes: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The critic's term, a scalar.

        Args:
            real: Logits of the classes of true events ``(B, K)``.
            fake: Those of generated events.
            classes: Class numbers of both, int64 ``(B,)``.
            weight: Event weights ``(B,)``, or None.
            generator: Source of flips.
        """
        told = flipped(classes, fake, self.critic_flip, generator)
        return self.weight * (_named(real, classes, weight) + _named(fake, told, weight))

    def generator(
        self,
        fake: Tensor,
        classes: Tensor,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The generator's term, a scalar."""
        told = flipped(classes, fake, self.generator_flip, generator)
        return self.weight * _named(fake, told, weight)


def flipped(
    classes: Tensor, logits: Tensor, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """Class numbers ``(B,)``, a share of them exchanged for another of the ``K`` classes."""
    count = logits.shape[1]
    if share == 0 or count < 2:
        return classes
    other = draws.integers(1, count, classes.shape, classes, generator)
    chosen = draws.uniform(classes.shape, logits, generator) < share
    return torch.where(chosen, (classes + other) % count, classes)


def _named(logits: Tensor, classes: Tensor, weight: Tensor | None) -> Tensor:
    return weighted_mean(functional.cross_entropy(logits, classes, reduction="none"), weight)
