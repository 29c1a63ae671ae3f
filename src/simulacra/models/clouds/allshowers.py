r"""AllShowers: flow matching of points in layers, after that of how many points each layer has.

Generates: complete showers. Flow matching of a vector (PointCountFM) draws the number of points of every
    layer; a transformer in which a point sees near layers alone then turns noise into that many points of
    each layer, given those numbers and everything that is given.
Conditions: whatever the data set is conditioned on: incident energy, direction, class of the particle.
Representation: clouds whose points lie in layers: ILD's clouds and the cloud views of calorimeters.
Reference: Buss, Day-Hall, Gaede, Kasieczka, Krüger 2026, arXiv:2601.11716; code
    FLC-QU-hep/AllShowers, commit 8bd0745, and FLC-QU-hep/PointCountFM, commit 8f82576.

Note:
    Differences from the paper: time runs from noise (0) to data (1); the window of layers is symmetric
    (:mod:`simulacra.nn.layer_transformer`); noise is assigned to points by optimal transport anew in
    every step, not once for all; the network of the points is told logarithms of the numbers of points,
    standardised; both parts learn at once. At small size a training step sees some points of a shower,
    features are normal by quantiles, the energies of the shower and of its layers and its centres come
    first and are imposed on the points, and what comes first is learnt about its regression on the
    conditions. Numbers of points may be corrected for their bias
    (:mod:`simulacra.transforms.count_correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Latent, Spec, draws
from simulacra.core.ranges import Count
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.clouds import by_length, counted
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver
from simulacra.dynamics.transport import transport_coupling
from simulacra.models.clouds.cloud import trimmed
from simulacra.models.clouds.layered_cloud import LayeredCloud
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.known_layers import KnownLayersTransform

MakeNet = Callable[[int, int, int], nn.Module]
"""From numbers per point, number of layers and width of the conditions. The network is called as
``net(x, t, mask, layer, context)``: points ``(B, N, F)``, numbers ``(B,)`` that tell the time, mask ``(B,
N)``,
layers ``(B, N)``, context ``(B, L + C)``."""


class AllShowers(LayeredCloud):
    """See the module's docstring.

    Args:
        spec: See :class:`~simulacra.models.clouds.cloud.CloudModel`, as the next two.
        given: What is given.
        transform: The transform.
        numbers: Makes the density of the numbers of points, and of what else comes first.
        net: Makes the network of the points.
        process: How it learns.
        chunk: Points of a layer to which noise is assigned together, at most (None: noise is not assigned).
        solver: Solver for sampling.
        optim: How all parameters are moved.
    """

    transform: KnownLayersTransform
    together = 4
    """Events that are sampled together at least."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[str]], KnownLayersTransform],
        numbers: MakeDensity,
        net: MakeNet,
        process: Diffusion,
        chunk: Count | None,
        solver: Solver,
        optim: Optim,
    ) -> None:
        super().__init__(spec=spec, given=given, transform=transform, numbers=numbers)
        self.net = net(self.features - 1, self.transform.layers, self.transform.conditions.width)
        process.equip(self.net)
        self.process, self.chunk, self.solver, self.optim = process, chunk, solver, optim

    def objectives(self) -> dict[str, Objective]:
        """Distance of the points plus what the density of the numbers minimises."""
        return {"showers": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Sum of both losses, and each of them."""
        found, mask = trimmed(latent)
        data, layer = found[..., :-1], found[..., -1].long()
        noise = draws.normal(data.shape, data, generator)
        if self.chunk is not None:
            noise = transport_coupling(noise, data, mask, layer, self.chunk)
        real, counts = mask[..., None].to(data), counted(mask, latent.weight, data)
        network = Bound(self.net, mask, layer, self.context(latent.x["event"], latent.cond))
        points = self.process.loss(network, data * real, noise * real, counts, generator)
        if not self.event_flow.learns:
            return {"loss": points, "points": points}
        numbers = self.event_flow.loss(latent.x["event"], latent.cond, latent.weight, generator)
        return {"loss": points + numbers, "points": points, "numbers": numbers}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Points with their layers, see :meth:`CloudModel.draw_points`; events of like size together."""
        assert context is not None
        layer = self.transform.layers_of(context)[:, : mask.shape[1]] * mask
        noise = draws.normal((*mask.shape, self.features - 1), mask, generator)
        points = torch.zeros_like(noise)
        for chosen, longest in by_length(mask, self.together):
            real, place = mask[chosen, :longest], layer[chosen, :longest]
            denoiser = self.process.denoiser(Bound(self.net, real, place, context[chosen]))
            weight = real[..., None].to(noise)
            made = self.solver.sample(denoiser, noise[chosen, :longest] * weight, generator)
            points[chosen, :longest] = made * weight
        return torch.cat([points, layer[..., None].to(points)], -1)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Fit the correction to numbers of points that the present weights generate; no points are drawn."""
        correction = self.calibration
        correction.forget()
        cond = correction.conditions().to(self.device)
        generator = torch.Generator(device=self.device).manual_seed(0)
        with self.evaluating():
            event = self.draw_numbers(cond, self.transform.condition(cond), generator)
        counts = self.transform.counts(self.transform.numbers(event, cond))
        correction.fit_generated(Batch(counts.float(), {}, weight=correction.weights))
