"""Point clouds by diffusion or flow matching: one class, whose parts make the published models.

A network, a process (path, prediction, times, distance: :mod:`simulacra.dynamics.diffusion`) and a solver are
given; any solver with any number of steps samples a trained model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Latent, Spec, draws
from simulacra.dynamics.clouds import CloudNetwork, by_length, cloud_loss
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver
from simulacra.models.clouds.cloud import CloudModel, MakeTransform, trimmed
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim

MakeNet = Callable[[int, int], nn.Module]
"""From numbers per point and width of the context. The network is called as ``net(x, t, mask, context)``:
points ``(B, N, F)``, numbers ``(B,)`` that tell the time, mask ``(B, N)``, context ``(B, C)`` or None."""


class CloudDiffusion(CloudModel):
    """One module, one optimizer: the losses of the two stages add.

    Args:
        spec: See :class:`CloudModel`, as the next three.
        given: What is given.
        transform: The transform.
        numbers: The event's numbers.
        net: Makes the network.
        process: How it learns.
        ranked: Whether noise points are assigned to points by rank of the energy-like feature.
        solver: Solver for sampling.
        optim: How all parameters are moved.
    """

    together = 64
    """Events that are sampled together at least, below which the network is no faster."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        net: MakeNet,
        process: Diffusion,
        ranked: bool,
        solver: Solver,
        optim: Optim,
    ) -> None:
        super().__init__(spec=spec, given=given, transform=transform, numbers=numbers)
        self.net = net(self.features, self.context_width)
        process.equip(self.net)
        self.process = process
        self.ranked = self.transform.energy if ranked else None
        self.solver = solver
        self.optim = optim

    def objectives(self) -> dict[str, Objective]:
        """Distance of the points plus, where their density learns, negative log-likelihood of the event's
        numbers.
        """
        return {"cloud": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Sum of both losses, and each of them."""
        points, mask = trimmed(latent)
        network = CloudNetwork(self.net, self.context(latent.x["event"], latent.cond))
        distance = cloud_loss(
            network, points, mask, self.process, self.ranked, latent.weight, generator
        )
        numbers = self.learnt_numbers(latent)
        return {"loss": sum(numbers.values(), distance), "points": distance, **numbers}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """See :meth:`CloudModel.draw_points`; events of like size together."""
        noise = draws.normal((*mask.shape, self.features), mask, generator)
        points = torch.zeros_like(noise)
        for chosen, longest in by_length(mask, self.together):
            real = mask[chosen, :longest]
            network = self.network(None if context is None else context[chosen])
            denoiser = self.process.denoiser(network.at(real))
            weight = real[..., None].to(noise.dtype)
            made = self.solver.sample(denoiser, noise[chosen, :longest] * weight, generator)
            points[chosen, :longest] = made * weight
        return points

    def network(self, context: Tensor | None) -> CloudNetwork:
        """The network that samples, for the contexts of a batch."""
        return CloudNetwork(self.net, context)
