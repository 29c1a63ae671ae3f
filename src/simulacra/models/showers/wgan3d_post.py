"""Wasserstein GAN of showers whose cells are post-processed ("Getting High").

The networks of :mod:`simulacra.models.showers.wgan3d` learn first. Then a post-processor of single cells
(:mod:`simulacra.models.showers.post_processing`) learns to give generated showers the spectrum of cells of
true ones, which the generator of a GAN smears, and to leave them as they are beyond that.

Generates: cell energies on ``(L, rows, cols)`` grids.
Conditions: the incident energy and any further condition.
Representation: regular grids with an incident energy.
Reference: Buhmann et al., arXiv:2005.05334, section 3.3. At 30 x 30 x 30 cells and one condition the
    post-processor has the published 299,136 parameters.

Note:
    Differs from the reference: the post-processor begins as the identity, and generated showers stand beside
    true ones of the same energies. Where networks see logarithms it maps those, and what it learns from is in
    MeV all the same; cells below the cut may be empty after it as before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Spec
from simulacra.models.showers.post_processing import PostProcessing
from simulacra.models.showers.wgan3d import WGAN3D, Constraint
from simulacra.models.two_player import MakePlayer, Rules
from simulacra.nn.volumes import Sum
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.volume import ToldVolumes


class PostWGAN3D(WGAN3D):
    """See the module's docstring.

    Args:
        spec: See :class:`~simulacra.models.showers.wgan3d.WGAN3D`, as all but one.
        given: What is given.
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
        constraint: The constrainer.
        post: The post-processor and how it learns.
        optim: What moves the generator.
        critic_optim: What moves the critic.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], ToldVolumes],
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        constraint: Constraint,
        post: PostProcessing,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            constraint=constraint, optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        self.post = post.net(spec.shape, self.transform.conditions.width)
        self.processing = post

    def objectives(self) -> dict[str, Objective]:
        """Those of the GAN, then that of the post-processor."""
        begin, parameters = self.processing.begin, list(self.post.parameters())
        found = {name: replace(part, end=begin) for name, part in super().objectives().items()}
        post = Objective(self.post_loss, parameters, self.processing.optim, begin=begin)
        return {**found, "post": post}

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of generator and post-processor."""
        return [*super().used_parameters(), *self.post.parameters()]

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """One pass of the generator, then of the post-processor."""
        made = super().generate(cond, generator)
        shower = self.processed(made.x[self.stage], cast(Tensor, made.cond))
        return Latent({self.stage: self.transform.emptied(shower)}, made.cond)

    def processed(self, shower: Tensor, cond: Tensor) -> Tensor:
        """Post-processed scaled volumes ``(B, 1, L, R, K)`` of generated ones; a sum that was drawn stays."""
        drawn = self.transform.log_response(shower, cond)
        return cast(Sum, self.net.sum)(self.post(shower, cond[:, :-1]), drawn, cond)

    def post_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """See :meth:`PostProcessing.loss`."""
        cond = cast(Tensor, latent.cond)
        with torch.no_grad():
            made = self.net(len(latent), cond, generator)
        volumes = self.processed(made, cond), made, latent.x[self.stage]
        found, given, true = (self.transform.in_mev(volume) for volume in volumes)
        return self.processing.loss(found, given, true, latent.weight)
