"""Adversarial networks whose critic gives a verdict: a score and, where the data have one, a class.

Critic and generator take turns on each batch. The critic sees true and generated events in batches of their
own, so that it may look at the statistics of a batch; where it or the generator does, event weights are
refused, since a weight is no repetition of an event then. Generated events are asked for the conditions of
the true events of the batch and share their weights. What the players play for is an object,
:mod:`simulacra.dynamics.games`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Spec, refuse_weights
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Share
from simulacra.dynamics.games import Game, Labels
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.minibatch import batch_statistics
from simulacra.nn.spectral import bounded
from simulacra.nn.verdicts import Verdict
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.base import Transform

MakePlayer = Callable[[Any, Columns], nn.Module]
"""From the canvas and what the conditions are."""


@constructor
@dataclass(frozen=True)
class Rules:
    """How the two players learn from each other.

    Args:
        game: What they play for.
        labels: What the critic is asked about classes, where the data have any.
        every: The generator moves on every such batch; the critic moves once on each.
        steps: Steps of the generator on a batch on which it moves.
        share: Share of each batch that a penalty of the game is taken on.
        spectral: Whether no layer of the critic enlarges anything (:mod:`simulacra.nn.spectral`).
    """

    game: Game
    labels: Labels
    every: Count
    steps: Count
    share: Share
    spectral: bool


class TwoPlayer(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: What the data set promises.
        given: Fields that the generator is given (None: all conditions).
        transform: Makes the transform.
        net: Makes the generator.
        critic: Makes the critic.
        rules: How they learn from each other.
        optim: What moves the generator.
        critic_optim: What moves the critic.

    Raises:
        UserError: If the game bounds the slope of a critic that looks at several events at once.
    """

    adversarial = True
    stage: ClassVar[str]
    """The latent stage that is generated."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], Transform],
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.columns = self.described()
        self.net, self.critic = (make(self.canvas, self.columns) for make in (net, critic))
        if rules.spectral:
            bounded(self.critic)
        self.rules, self.optim, self.critic_optim = rules, optim, critic_optim
        rules.game.check(self.critic)
        self.across = batch_statistics(self)

    @property
    @abstractmethod
    def canvas(self) -> Any:
        """What the players are told of the events that they make and judge."""

    def described(self) -> Columns:
        """What the columns of the conditions are."""
        return Columns.of(self.given_fields)

    def drawn(self, latent: Latent, generator: torch.Generator | None = None) -> Latent:
        """The events of a batch that the players are shown; all by default."""
        return latent

    def verdict(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """The critic's verdict on events ``(B, *)`` under conditions ``(B, C)``."""
        return self.critic(events, cond)

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """What the generator minimises beside its part of the game: weighted scalars by name."""
        return {}

    def objectives(self) -> dict[str, Objective]:
        """Critic, then generator."""
        critic, net = list(self.critic.parameters()), list(self.net.parameters())
        rules = self.rules
        return {
            "critic": Objective(self.critic_loss, critic, self.critic_optim),
            "generator": Objective(
                self.generator_loss, net, self.optim, every=rules.every, steps=rules.steps
            ),
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the generator."""
        return list(self.net.parameters())

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """One pass of the generator."""
        scaled = self.transform.condition(cond)
        return Latent({self.stage: self.net(cond.n, scaled, generator)}, scaled)

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The critic's part of the game, its penalty and the classes."""
        self._refuse_weights(latent)
        latent = self.drawn(latent, generator)
        game, real, weight = self.rules.game, latent.x[self.stage], latent.weight
        with torch.no_grad():
            fake = self.net(len(latent), latent.cond, generator)
        on_real, on_fake = (self.verdict(events, latent.cond) for events in (real, fake))
        values = {"game": game.critic(on_real.score, on_fake.score, weight, generator)}
        part = latent[: max(1, round(self.rules.share * len(latent)))]
        penalty = game.penalty(
            lambda events: self.verdict(events, part.cond).score, real[: len(part)], fake[: len(part)],
            part.weight, generator,
        )  # fmt: skip
        if penalty is not None:
            values["penalty"] = penalty
        if on_real.label is not None and on_fake.label is not None:
            labels, asked = self.rules.labels, self._classes(latent)
            values["label"] = labels.critic(on_real.label, on_fake.label, asked, weight, generator)
        return {"loss": torch.stack(list(values.values())).sum(), **values}

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The generator's part of the game, the classes and further terms."""
        self._refuse_weights(latent)
        latent = self.drawn(latent, generator)
        fake = self.net(len(latent), latent.cond, generator)
        with frozen(self.critic):
            verdict = self.verdict(fake, latent.cond)
        values = {"game": self.rules.game.generator(verdict.score, latent.weight)}
        if verdict.label is not None:
            labels, asked = self.rules.labels, self._classes(latent)
            values["label"] = labels.generator(verdict.label, asked, latent.weight, generator)
        values |= self.terms(fake, latent)
        return {"loss": torch.stack(list(values.values())).sum(), **values}

    def _refuse_weights(self, latent: Latent) -> None:
        if self.across:
            refuse_weights(latent.weight, f"{type(self).__name__} with {' and '.join(self.across)}")

    def _classes(self, latent: Latent) -> Tensor:
        """Class numbers ``(B,)``."""
        assert latent.cond is not None
        return latent.cond[:, list(self.columns.classes)].argmax(1)
