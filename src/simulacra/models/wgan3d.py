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

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Conditions, Latent, Spec, UserError
from simulacra.core.units import factor
from simulacra.dynamics.adversarial import (
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.models.base import GenerativeModule, Objective, frozen
from simulacra.models.optim import Optim
from simulacra.nn.shower_gan import EnergyConstrainer, ShowerCritic, ShowerGenerator
from simulacra.transforms.volume import GridScaling, LinearScale, LogScale

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
Schedule = Callable[..., LRScheduler] | None


class WGAN3D(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Grid data set with an incident energy.
        given: Fields the generator is given (None: all conditions).
        latent: Length of the latent vector, uniform in (-1, 1).
        width: Channels per input at the coarsest size.
        channels: Channels of the generator's doublings.
        head_stride: 1, or 2 for an output layer that doubles once more.
        noise: Whether each cell has its own noise.
        critic_channels: Channels of the critic's convolutions.
        critic_depths: Their kernels along the depth.
        critic_strides: Their strides along the depth.
        critic_hidden: Widths of the critic's fully connected layers.
        profiles: Whether the critic also sees the sums along the axes.
        constrainer_channels: Channels of the constrainer's three convolutions.
        constrainer_hidden: Width of its fully connected layer.
        logarithmic: Whether the networks see ``ln(1 + x / cut)`` in place of the content in MeV.
        penalty: Weight of the gradient penalty.
        penalty_share: Share of each batch that the penalty is taken on.
        kappa: Weight of the constrainer's term [1/GeV^2].
        n_critic: Critic steps per generator step.
        optimizer: Makes the generator's optimizer.
        critic_optimizer: Makes the critic's.
        constrainer_optimizer: Makes the constrainer's.
        scheduler: Makes the schedule of all three, or None.
    """

    transform: GridScaling

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        latent: int,
        width: int,
        channels: Sequence[int],
        head_stride: int,
        noise: bool,
        cell_gain: float,
        critic_channels: Sequence[int],
        critic_depths: Sequence[int],
        critic_strides: Sequence[int],
        critic_hidden: Sequence[int],
        profiles: bool,
        constrainer_channels: Sequence[int],
        constrainer_hidden: int,
        logarithmic: bool,
        penalty: float,
        penalty_share: float,
        kappa: float,
        n_critic: int,
        optimizer: MakeOptimizer,
        critic_optimizer: MakeOptimizer,
        constrainer_optimizer: MakeOptimizer,
        scheduler: Schedule,
    ) -> None:
        super().__init__(spec, given)
        energy = spec.by_role("energy")
        hit = spec.cut or spec.threshold or 1.0
        scale = LogScale(hit) if logarithmic else LinearScale(factor("MeV", spec.unit))
        self.transform = GridScaling(spec, self.given_fields, energy, scale, hit)
        cond = self.transform.conditions.width
        seen = cond + (self.transform.profile_width if profiles else 0)
        self.generator = ShowerGenerator(
            spec.shape, cond, latent, width, channels, head_stride, noise, cell_gain
        )
        self.critic = ShowerCritic(
            spec.shape, seen, critic_channels, critic_depths, critic_strides, critic_hidden
        )
        self.constrainer = EnergyConstrainer(spec.shape, constrainer_channels, constrainer_hidden)
        self.profiles = profiles
        self.penalty = penalty
        self.penalty_share = penalty_share
        self.kappa = kappa
        self.n_critic = n_critic
        self.largest = float(energy.high or 1.0) * factor(energy.unit, "GeV")
        self.optimizers_by_name = {
            "critic": critic_optimizer,
            "generator": optimizer,
            "constrainer": constrainer_optimizer,
        }
        self.schedule = scheduler

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        if spec.kind != "grid" or len(spec.shape) != 3:
            return f"it needs a regular grid (L, rows, cols), and this is a {spec.kind} of shape {spec.shape}"
        if spec.roles.get("energy") not in spec.conditions:
            return "its constrainer needs a condition that is the incident energy"
        return None

    def objectives(self) -> dict[str, Objective]:
        """Critic and constrainer at every batch, generator at every ``n_critic``-th."""
        nets = {"critic": self.critic, "generator": self.generator, "constrainer": self.constrainer}
        losses = {
            "critic": self.critic_loss,
            "generator": self.generator_loss,
            "constrainer": self.constrainer_loss,
        }
        every = {"critic": 1, "generator": self.n_critic, "constrainer": 1}
        return {
            name: Objective(
                losses[name],
                list(net.parameters()),
                Optim(self.optimizers_by_name[name], self.schedule),
                every=every[name],
            )
            for name, net in nets.items()
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """The generator network's."""
        return list(self.generator.parameters())

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """One pass of the generator."""
        scaled = self.transform.condition(cond)
        return Latent({"shower": self.generator(scaled, generator)}, scaled)

    def score(self, shower: Tensor, latent: Latent) -> Tensor:
        """Critic's score ``(B, 1)`` of volumes for the conditions of ``latent``."""
        seen = [_given(latent)]
        if self.profiles:
            seen.append(self.transform.profiles(shower, latent.x["energy"]))
        return self.critic(shower, torch.cat(seen, dim=1))

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Wasserstein loss and gradient penalty."""
        real = latent.x["shower"]
        with torch.no_grad():
            fake = self.generator(_given(latent), generator)
        distance = wasserstein_critic_loss(self.score(real, latent), self.score(fake, latent))
        part = latent[: max(1, round(self.penalty_share * len(latent)))]
        slope = gradient_penalty(
            partial(self.score, latent=part), real[: len(part)], fake[: len(part)], generator
        )
        return {"loss": distance + self.penalty * slope, "distance": -distance, "penalty": slope}

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Critic's score and the constrainer's term [GeV^2]."""
        energy = latent.x["energy"]
        fake = self.generator(_given(latent), generator)
        with frozen(self.critic, self.constrainer):
            score = wasserstein_generator_loss(self.score(fake, latent))
            misfit = (self.largest * self.constrainer(fake) - energy).square()
            with torch.no_grad():
                expected = (self.largest * self.constrainer(latent.x["shower"]) - energy).square()
        constraint = (misfit - expected).abs().mean()
        return {"loss": score + self.kappa * constraint, "score": -score, "constraint": constraint}

    def constrainer_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Mean absolute error on true showers, in units of the largest energy."""
        return {
            "loss": (self.constrainer(latent.x["shower"]) - latent.x["energy"] / self.largest)
            .abs()
            .mean()
        }


def _given(latent: Latent) -> Tensor:
    if latent.cond is None:
        raise UserError("this model needs conditions, and the latent events have none")
    return latent.cond
