r"""Wasserstein GAN of showers on a regular grid with an energy constrainer ("Getting High").

Generates cell energies on ``(L, rows, cols)`` grids, given the incident energy and any further condition.
Three networks are trained in turn: a critic with gradient penalty (:mod:`simulacra.dynamics.adversarial`,
weight 5), the generator, and a constrainer :math:`a` that regresses the incident energy of true showers
(:math:`L_1`) and adds to the generator's loss

.. math:: \kappa\, E\big[\,\big|(a(G) - E)^2 - (a(x) - E)^2\big|\,\big],\qquad \kappa = 0.01\
\text{GeV}^{-2}.

Reference: Buhmann et al., arXiv:2005.05334; code FLC-QU-hep/getting_high, commit 3547483. At 30 x 30 x 30
cells and one condition the networks have 3,655,520, 253,919 and 224,473 parameters, as there.

Note:
    Differs from the reference: conditions enter scaled to [-1, 1] and the constrainer predicts the energy
    in units of the largest incident energy (there both are bare numbers in GeV); kappa keeps its meaning,
    since the term is computed in GeV. Other grids get the same networks with start size, cropping and
    kernels derived from their size; the axes of ``alpha`` grids are not closed. These options are off at
    published size: networks may see logarithms; each cell may have a bias and noise of its own before the
    last ReLU; the critic may see sums along the axes; ``head_stride=2`` merges the last up-sampling with
    the output layer; the penalty may be taken on a share of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Spec, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative, Share
from simulacra.core.units import factor
from simulacra.dynamics.adversarial import (
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.volume import GridScaling

MakeTransform = Callable[[Spec, Sequence[Field]], GridScaling]
"""From the data set and the given fields."""
MakeNet = Callable[[Sequence[int], int], nn.Module]
"""From the cells per axis and the columns that are seen beside the volume."""


@constructor
@dataclass(frozen=True)
class ShowerGANLoss:
    """What the networks learn from each other.

    Args:
        penalty: Weight of the gradient penalty.
        penalty_share: Share of each batch that the penalty is taken on.
        kappa: Weight of the constrainer's term [1/GeV^2].
        n_critic: Critic steps per step of the network that generates.
    """

    penalty: NotNegative
    penalty_share: Share
    kappa: NotNegative
    n_critic: Count


class WGAN3D(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Grid data set with an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        net: Makes the network that generates.
        critic: Makes the critic, which sees conditions and what the transform adds to them.
        constrainer: Makes the constrainer from the cells per axis.
        loss: What they learn from each other.
        optim: What moves ``net``.
        critic_optim: What moves the critic.
        constrainer_optim: What moves the constrainer.
    """

    transform: GridScaling

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        net: MakeNet,
        critic: MakeNet,
        constrainer: Callable[[Sequence[int]], nn.Module],
        loss: ShowerGANLoss,
        optim: Optim,
        critic_optim: Optim,
        constrainer_optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        energy = spec.by_role("energy")
        self.transform = transform(spec, self.given_fields)
        cond = self.transform.conditions.width
        self.net = net(spec.shape, cond)
        self.critic = critic(spec.shape, cond + self.transform.shown)
        self.constrainer = constrainer(spec.shape)
        self.terms = loss
        self.largest = float(energy.high or 1.0) * factor(energy.unit, "GeV")
        self.optims = optim, critic_optim, constrainer_optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        if spec.kind != "grid" or len(spec.shape) != 3:
            return f"it needs a regular grid (L, rows, cols), and this is a {spec.kind} of shape {spec.shape}"
        if spec.roles.get("energy") not in spec.conditions:
            return "its constrainer needs a condition that is the incident energy"
        return None

    def objectives(self) -> dict[str, Objective]:
        """Critic and constrainer at every batch, the network that generates at every ``n_critic``-th."""
        optim, critic_optim, constrainer_optim = self.optims
        every = self.terms.n_critic
        critic, constrainer = self.critic.parameters(), self.constrainer.parameters()
        return {
            "critic": Objective(self.critic_loss, list(critic), critic_optim),
            "generator": Objective(self.generator_loss, self.used_parameters(), optim, every=every),
            "constrainer": Objective(self.constrainer_loss, list(constrainer), constrainer_optim),
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the network that generates."""
        return list(self.net.parameters())

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """One pass of the network."""
        scaled = self.transform.condition(cond)
        return Latent({"shower": self.net(scaled, generator)}, scaled)

    def score(self, shower: Tensor, latent: Latent) -> Tensor:
        """Critic's score ``(B, 1)`` of volumes for the conditions of ``latent``."""
        shown = self.transform.show(shower, latent.x["energy"])
        return self.critic(shower, torch.cat([_given(latent), *shown], dim=1))

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Wasserstein loss and gradient penalty."""
        real = latent.x["shower"]
        with torch.no_grad():
            fake = self.net(_given(latent), generator)
        distance = wasserstein_critic_loss(
            self.score(real, latent), self.score(fake, latent), latent.weight
        )
        part = latent[: max(1, round(self.terms.penalty_share * len(latent)))]
        slope = gradient_penalty(
            partial(self.score, latent=part), real[: len(part)], fake[: len(part)], generator,
            weight=part.weight,
        )  # fmt: skip
        loss = distance + self.terms.penalty * slope
        return {"loss": loss, "distance": -distance, "penalty": slope}

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Critic's score and the constrainer's term [GeV^2]."""
        energy = latent.x["energy"]
        fake = self.net(_given(latent), generator)
        with frozen(self.critic, self.constrainer):
            score = wasserstein_generator_loss(self.score(fake, latent), latent.weight)
            misfit = (self.largest * self.constrainer(fake) - energy).square()
            with torch.no_grad():
                expected = (self.largest * self.constrainer(latent.x["shower"]) - energy).square()
        constraint = latent.mean((misfit - expected).abs())
        loss = score + self.terms.kappa * constraint
        return {"loss": loss, "score": -score, "constraint": constraint}

    def constrainer_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Mean absolute error on true showers, in units of the largest energy."""
        found = self.constrainer(latent.x["shower"]) - latent.x["energy"] / self.largest
        return {"loss": latent.mean(found.abs())}


def _given(latent: Latent) -> Tensor:
    if latent.cond is None:
        raise UserError("this model needs conditions, and the latent events have none")
    return latent.cond
