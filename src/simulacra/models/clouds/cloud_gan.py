"""Point clouds by a generator and a critic: one class, whose networks make the published models.

What the two play for is an object (:mod:`simulacra.dynamics.games`); a generated cloud has the weight of the
event whose numbers it is given. Both networks see the numbers of the event, true ones in training; their flow
is an objective of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Latent, Spec
from simulacra.dynamics.clouds import by_length
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.games import Game
from simulacra.models.clouds.cloud import CloudModel, MakeTransform, trimmed
from simulacra.nn.cloud_gan import CloudCritic, CloudGenerator
from simulacra.training.generative import Objective, frozen
from simulacra.training.optim import Optim

MakeGenerator = Callable[[int, int], CloudGenerator]
MakeCritic = Callable[[int, int], CloudCritic]


class CloudGAN(CloudModel):
    """Critic, generator and the flow of the event's numbers, stepped in this order on each batch.

    Args:
        spec: See :class:`CloudModel`, as the next three.
        given: What is given.
        transform: The transform.
        numbers: The event's numbers.
        net: Makes the generator from numbers per point and width of the context.
        critic: Makes the critic from the same.
        game: What they play for.
        optim: How the generator is moved.
        critic_optim: How the critic is.
        numbers_optim: How the flow of the numbers is.

    Raises:
        UserError: If the game bounds the slope of a critic that looks at several events at once.
    """

    adversarial = True

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        net: MakeGenerator,
        critic: MakeCritic,
        game: Game,
        optim: Optim,
        critic_optim: Optim,
        numbers_optim: Optim,
    ) -> None:
        super().__init__(spec=spec, given=given, transform=transform, numbers=numbers)
        self.net = net(self.features, self.context_width)
        self.critic = critic(self.features, self.context_width)
        game.check(self.critic)
        self.game = game
        self.optim, self.critic_optim, self.numbers_optim = optim, critic_optim, numbers_optim

    def objectives(self) -> dict[str, Objective]:
        """Critic, generator, numbers (unless these are a kernel density estimate, which does not train)."""
        parts = {
            "critic": (self.critic_loss, self.critic, self.critic_optim),
            "generator": (self.generator_loss, self.net, self.optim),
            "numbers": (self.numbers_loss, self.event_flow, self.numbers_optim),
        }
        return {
            name: Objective(loss, parameters, optim)
            for name, (loss, net, optim) in parts.items()
            if (parameters := list(net.parameters()))
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the generator and of the flow of the numbers."""
        return [*self.net.parameters(), *self.event_flow.parameters()]

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The critic's part of the game."""
        real, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        with torch.no_grad():
            fake = self.net(self.net.noise(mask, generator), mask, context)

        def score(points: Tensor) -> Tensor:
            return self.critic(points, mask, context)

        return self.game.critic_loss(score, real, fake, latent.weight, generator)

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The generator's part of the game."""
        _, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        fake = self.net(self.net.noise(mask, generator), mask, context)
        with frozen(self.critic):
            score = self.critic(fake, mask, context)
        return {"loss": self.game.generator(score, latent.weight)}

    def numbers_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Negative log-likelihood of the event's numbers."""
        return {"loss": self.event_nll(latent)}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """See :meth:`CloudModel.draw_points`; events of like size together."""
        points = torch.zeros(*mask.shape, self.features, device=mask.device)
        for chosen, longest in by_length(mask):
            real = mask[chosen, :longest]
            seen = None if context is None else context[chosen]
            made = self.net(self.net.noise(real, generator), real, seen)
            points[chosen, :longest] = made.to(points.dtype)  # of half as many bits under autocast
        return points
