r"""CaloClouds: diffusion of independent points given a latent of their shower.

Generates: complete showers. A flow draws the numbers of the shower, a second flow a latent vector; a
    denoising diffusion model turns noise into points, each for itself, given the latent, the incident
    energy and the number of points; the transform then imposes the drawn numbers on them
    (:mod:`simulacra.transforms.cloud_layers`).
Conditions: whatever the data set is conditioned on (incident energy).
Representation: clouds whose points lie in layers: ILD's clouds and the cloud views of calorimeters.
Reference: Buhmann, Diefenbacher, Eren, Gaede, Kasieczka, Korol, Korcari, Krüger, McKeown 2023,
    arXiv:2305.04847; code FLC-QU-hep/CaloClouds, commit 29aa76c.

With an encoder's mean :math:`\mu` and width :math:`\sigma`, :math:`z = \mu + \sigma \epsilon` and the noise
:math:`\epsilon_\theta` that a network predicts, the loss is

.. math:: |\epsilon_\theta(x_t, t, z, c) - \epsilon|^2 + w \max(KL(q(z | x)\,\|\,N(0, 1)), 1)
    - \ln p(z | c) / Z

where the last term, the latent's flow, sees :math:`z` without gradient.

Note:
    Differences from the paper: those of CaloClouds II here (:mod:`simulacra.models.clouds.caloclouds2`):
    masks, random points of a shower in a training step, which the encoder sees too, features standardised
    or normal by quantiles, one optimizer, calibration with the energies and centres of the second version;
    times of training are uniform and not the chain's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Layout, Spec
from simulacra.dynamics.clouds import CloudNetwork, cloud_loss
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver
from simulacra.models.clouds.cloud import MakeTransform, trimmed
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion, MakeNet
from simulacra.models.clouds.latent_vector import NormalLatentVector, joined
from simulacra.models.clouds.layered_cloud import LayeredCloud
from simulacra.nn.bottleneck import divergence, encoded
from simulacra.training.optim import Optim


class CaloClouds(LayeredCloud, CloudDiffusion):
    """See the module's docstring.

    Args:
        spec: See :class:`CloudDiffusion`, as all others but the latent.
        given: What is given.
        transform: The transform.
        numbers: The event's numbers.
        latent: The vector that the points of a shower share.
        net: The network; its context ends in the latent.
        process: How it learns.
        ranked: How noise is assigned.
        solver: Solver for sampling.
        optim: How all parameters are moved.
    """

    together = 4

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        latent: NormalLatentVector,
        net: MakeNet,
        process: Diffusion,
        ranked: bool,
        solver: Solver,
        optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, numbers=numbers,
            net=lambda features, context: net(features, context + latent.width),
            process=process, ranked=ranked, solver=solver, optim=optim,
        )  # fmt: skip
        self.encoder = latent.encoder(self.features, self.context_width, latent.width)
        self.latent_flow = latent.flow(Layout(latent.width, self.context_width))
        self.kl = latent.kl

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss above plus the negative log-likelihood of the event's numbers, and each part."""
        points, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        mean, log_variance = self.encoder(points, mask, context)
        z = encoded(mean, log_variance, generator)
        network = CloudNetwork(self.net, joined(context, z))
        parts = {
            "points": cloud_loss(
                network, points, mask, self.process, self.ranked, latent.weight, generator
            ),
            "divergence": latent.mean(divergence(mean, log_variance)),
            "latent_nll": self.latent_flow.loss(z.detach(), context, latent.weight),
        }
        numbers = self.learnt_numbers(latent)
        weighted = self.kl * parts["divergence"].clamp_min(1)
        total = sum(numbers.values(), parts["points"] + weighted + parts["latent_nll"])
        return {"loss": total, **parts, **numbers}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """A latent for each event, then its points."""
        z = self.latent_flow.sample(mask.shape[0], context, generator)
        return super().draw_points(mask, joined(context, z), generator)
