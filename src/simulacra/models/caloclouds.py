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
    Differences from the paper: those of CaloClouds II here (:mod:`simulacra.models.caloclouds2`): masks,
    random points of a shower in a training step, which the encoder sees too, features standardised or
    normal by quantiles, one optimizer, calibration with the energies and centres of the second version;
    times of training are uniform and not the chain's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Latent, Spec, draws
from simulacra.dynamics.clouds import cloud_loss
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.solvers import Solver
from simulacra.models.cloud import MakeNumbers, MakeTransform, trimmed
from simulacra.models.cloud_diffusion import CloudDiffusion, MakeNet, bound
from simulacra.models.layered_cloud import LayeredCloud
from simulacra.nn.epic_encoder import EPiCEncoder


class CaloClouds(LayeredCloud, CloudDiffusion):
    """See the module's docstring and :class:`CloudDiffusion` for what is not told here.

    Args:
        spec: The data set.
        given: Conditions and event fields that are given (None: the conditions).
        transform: Makes the transform.
        numbers: Makes the flow of the event's numbers.
        event_cond: Whether points are conditioned on the generated numbers of the event.
        latent: Width of the latent, ``Z``.
        encoder: Makes the encoder from numbers per point, width of the context and of the latent.
        latents: Makes the flow of the latent from its width and that of the context.
        kl: Weight ``w`` of the divergence.
        net: Makes the network; its context ends in the latent.
        process: How it learns.
        ranked: Whether noise points are assigned to points by rank of the energy.
        solver: Solver for sampling.
        optimizer: Makes the optimizer from the parameters.
        scheduler: Makes the schedule, or None.
    """

    together = 4

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeNumbers,
        event_cond: bool,
        latent: int,
        encoder: Callable[[int, int, int], EPiCEncoder],
        latents: Callable[[int, int], Flow],
        kl: float,
        net: MakeNet,
        process: Diffusion,
        ranked: bool,
        solver: Solver,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
    ) -> None:
        super().__init__(
            spec, given, transform, numbers, event_cond,
            lambda features, context: net(features, context + latent),
            process, ranked, solver, optimizer, scheduler,
        )  # fmt: skip
        self.encoder = encoder(self.features, self.context_width, latent)
        self.latent_flow = latents(latent, self.context_width)
        self.kl = kl

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss above plus the negative log-likelihood of the event's numbers, and each part."""
        points, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        mean, log_variance = self.encoder(points, mask, context)
        z = encoded(mean, log_variance, generator)
        network = bound(self.net, joined(context, z))
        parts = {
            "points": cloud_loss(
                network, points, mask, self.process, self.ranked, latent.weight, generator
            ),
            "divergence": latent.mean(divergence(mean, log_variance)),
            "latent_nll": self.latent_flow.loss(z.detach(), context, latent.weight),
            "event_nll": self.event_nll(latent),
        }
        weighted = self.kl * parts["divergence"].clamp_min(1)
        total = parts["points"] + weighted + parts["latent_nll"] + parts["event_nll"]
        return {"loss": total, **parts}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """A latent for each event, then its points."""
        z = self.latent_flow.sample(len(mask), context, generator)
        return super().draw_points(mask, joined(context, z), generator)


def encoded(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None) -> Tensor:
    """A latent from its posterior."""
    return mean + (0.5 * log_variance).exp() * draws.normal(mean.shape, mean, generator)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of the posteriors ``(B, Z)`` from a standard normal, ``(B,)``."""
    parts = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * parts.sum(1)


def joined(context: Tensor | None, z: Tensor) -> Tensor:
    """Context and latent."""
    return z if context is None else torch.cat([context, z], 1)
