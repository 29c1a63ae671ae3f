r"""Wasserstein GAN of showers on a regular grid with an energy constrainer ("Getting High").

Generates cell energies on ``(L, rows, cols)`` grids, given the incident energy and any further condition.
Three networks are trained in turn: a critic with gradient penalty (weight 5), the generator, and a
constrainer :math:`a` that regresses the incident energy of true showers (:math:`L_1`) and adds to the
generator's loss

.. math:: \kappa\, E\big[\,\big|(a(G) - E)^2 - (a(x) - E)^2\big|\,\big],\qquad \kappa = 0.01\
\text{GeV}^{-2}.

Reference: Buhmann et al., arXiv:2005.05334; code FLC-QU-hep/getting_high, commit 3547483. At 30 x 30 x 30
cells and one condition the networks have 3,655,520, 253,919 and 224,473 parameters, as there.

Note:
    Differs from the reference: conditions enter scaled to [-1, 1] and the constrainer predicts the energy
    in units of the largest incident energy (there both are bare numbers in GeV); kappa keeps its meaning,
    since the term is computed in GeV. Other grids get the same networks with start size, cropping and
    kernels derived from their size; the axes of ``alpha`` grids are not closed. These options are off at
    published size: networks may see logarithms, and cells below the cut may be empty; each cell may have a
    bias and noise of its own before the last ReLU; the sum of all cells may be drawn first, since spatial
    norms take away how large numbers are (:mod:`simulacra.nn.volumes`); the critic may see sums along the
    axes; ``head_stride=2`` merges the last up-sampling with the output layer; the penalty may be taken on a
    share of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Field, Latent, Spec
from simulacra.core.constructors import constructor
from simulacra.core.ranges import NotNegative
from simulacra.models.showers.gan3d import GAN3D
from simulacra.models.two_player import MakePlayer, Rules
from simulacra.training.generative import Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.volume import ToldVolumes


@constructor
@dataclass(frozen=True)
class Constraint:
    """What holds generated showers to the incident energy.

    Args:
        net: Makes the constrainer from the cells per axis.
        kappa: Weight of its term in the generator's loss [1/GeV^2].
        optim: What moves it.
    """

    net: Callable[[Sequence[int]], nn.Module]
    kappa: NotNegative
    optim: Optim


class WGAN3D(GAN3D):
    """See the module's docstring.

    Args:
        spec: See :class:`~simulacra.models.two_player.TwoPlayer`, as all but one.
        given: What is given.
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
        constraint: The constrainer.
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
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        self.constrainer, self.constraint = constraint.net(spec.shape), constraint

    def objectives(self) -> dict[str, Objective]:
        """Critic, generator and constrainer."""
        parameters = list(self.constrainer.parameters())
        constrainer = Objective(self.constrainer_loss, parameters, self.constraint.optim)
        return {**super().objectives(), "constrainer": constrainer}

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """The constrainer's term."""
        energy = latent.x["energy"]
        largest = self.transform.largest
        with frozen(self.constrainer):
            misfit = (largest * self.constrainer(events) - energy).square()
            with torch.no_grad():
                expected = (largest * self.constrainer(latent.x[self.stage]) - energy).square()
        constraint = self.constraint.kappa * latent.mean((misfit - expected).abs())
        return {**super().terms(events, latent), "constraint": constraint}

    def constrainer_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Mean absolute error of the energies of true showers, in units of the largest."""
        energy = latent.x["energy"] / self.transform.largest
        return {"loss": latent.mean((self.constrainer(latent.x[self.stage]) - energy).abs())}
