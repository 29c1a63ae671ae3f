"""Point clouds by a generator and a critic: one class, whose networks make the published models.

Least-squares losses: the critic is drawn to 1 on true and to 0 on generated clouds, the generator to where
the critic says 1; a generated cloud has the weight of the event whose numbers it is given. Both networks see
the numbers of the event, true ones in training; their flow is an objective of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Latent, Spec
from simulacra.dynamics.adversarial import least_squares
from simulacra.dynamics.clouds import by_length
from simulacra.dynamics.density import MakeDensity
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
        optim: How the generator is moved.
        critic_optim: How the critic is.
        numbers_optim: How the flow of the numbers is.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        net: MakeGenerator,
        critic: MakeCritic,
        optim: Optim,
        critic_optim: Optim,
        numbers_optim: Optim,
    ) -> None:
        super().__init__(spec=spec, given=given, transform=transform, numbers=numbers)
        self.net = net(self.features, self.context_width)
        self.critic = critic(self.features, self.context_width)
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
        """Squared distance of scores from 1 on true and from 0 on generated clouds."""
        real, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        with torch.no_grad():
            fake = self.net(self.net.noise(mask, generator), mask, context)
        on_real = least_squares(self.critic(real, mask, context), 1.0, latent.weight)
        on_fake = least_squares(self.critic(fake, mask, context), 0.0, latent.weight)
        return {"loss": on_real + on_fake, "real": on_real, "fake": on_fake}

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Squared distance of scores of generated clouds from 1."""
        _, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        fake = self.net(self.net.noise(mask, generator), mask, context)
        with frozen(self.critic):
            score = self.critic(fake, mask, context)
        return {"loss": least_squares(score, 1.0, latent.weight)}

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
            points[chosen, :longest] = self.net(self.net.noise(real, generator), real, seen)
        return points
