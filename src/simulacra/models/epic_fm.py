"""EPiC-FM: flow matching of point clouds with an EPiC network, after a flow for an event's numbers.

Generates: complete clouds. A spline flow draws the number of points, the event fields that are not
    given (of a jet: transverse momentum, pseudorapidity, mass) and the sum, centres and widths of
    the energy; flow matching then turns noise into that many points, conditioned on those numbers
    and on everything given.
Conditions: whatever the data set is conditioned on (jet class, incident energy), and any event
    field listed in ``given``, for example ``[pt, mass]``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Buhmann, Ewen, Faroughy, Golling, Kasieczka, Leigh, Quetant, Raine, Sengupta, Shih 2023,
    arXiv:2310.00049.

Note:
    Differences from the paper: time runs from noise (0) to data (1); energy-like features are
    generated in a logarithm that turns linear; time features are cosines and sines of the first
    frequencies times pi; noise is masked before the network also in training; the jet-level flow
    and the conditioning on all its numbers are ours (the paper draws the number of particles from a
    kernel density estimate and takes transverse momentum and mass from truth); times are stratified
    within a batch; with ``ranked`` noise points are assigned to particles by rank; with
    ``calibrate`` the points are scaled and moved to the generated moments, as showers are in
    CaloClouds (arXiv:2309.05704).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Conditions, Latent, Spec
from simulacra.dynamics.flow_matching import cloud_loss, sample_cloud
from simulacra.dynamics.paths import OptimalTransportPath
from simulacra.dynamics.solvers import Solver
from simulacra.models.base import GenerativeModule, Objective
from simulacra.models.jet_level import JetLevelFlow
from simulacra.nn.epic import EPiC
from simulacra.nn.sets import trim
from simulacra.transforms.cloud import CloudTransform


class EPiCFM(GenerativeModule):
    """One module, one optimizer: the losses of the two stages add.

    Args:
        spec: The data set, of kind cloud.
        given: Conditions and event fields that are given (None: the conditions).
        hidden: Width of a point inside the EPiC network.
        latent: Width of its global vector.
        layers: Number of EPiC layers.
        frequencies: Number of Fourier frequencies of the time.
        local_cond: Whether layers of the points see the conditions too.
        event_cond: Whether the cloud is conditioned on the generated numbers of the event; without
            it the points see only what is given, as in the paper.
        sum_scale: Factor of the sum pool.
        scale: Standard deviation of the normalised points.
        knee: Where the map of energies turns from logarithmic to linear, in units of their mean.
        ranked: Whether noise points are assigned to points by rank of the energy-like feature.
        leading: Number of leading features (transverse coordinates) whose energy-weighted centres and
            widths are generated before the points, as the sum of the energies is.
        calibrate: Whether the points of a sample are scaled and moved to exactly these numbers.
        count: Event field that repeats the number of points, where the data set has one.
        sigma_min: Width left around data at the end of the path.
        solver: Solver for sampling.
        jet_hidden: Width of the conditioner networks of the spline flow.
        jet_transforms: Number of its transforms.
        jet_bins: Number of bins of its splines.
        optimizer: Makes the optimizer from the parameters.
        scheduler: Makes the schedule, or None.
    """

    transform: CloudTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        hidden: int,
        latent: int,
        layers: int,
        frequencies: int,
        local_cond: bool,
        event_cond: bool,
        sum_scale: float,
        scale: float,
        knee: float,
        ranked: bool,
        leading: int,
        calibrate: bool,
        count: str | None,
        sigma_min: float,
        solver: Solver,
        jet_hidden: int,
        jet_transforms: int,
        jet_bins: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
    ) -> None:
        super().__init__(spec, given)
        self.transform = CloudTransform(spec, self.given, count, scale, knee, leading, calibrate)
        self.path = OptimalTransportPath(sigma_min)
        self.solver = solver
        self.ranked = self.transform.energy if ranked else None
        self.event_cond = event_cond
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        width = self.transform.condition_scaling.width
        columns = self.transform.width
        self.event_flow = JetLevelFlow(columns, width, jet_hidden, jet_transforms, jet_bins)
        seen = width + columns * event_cond
        self.net = EPiC(
            len(spec.features), hidden, latent, layers, frequencies, seen, local_cond, sum_scale
        )

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Clouds of any size and features."""
        if spec.kind != "cloud":
            return f"it generates clouds of points, and {spec.name} has events of kind {spec.kind}"
        return None

    def objectives(self) -> dict[str, Objective]:
        """Flow matching of the points plus negative log-likelihood of the event's numbers."""
        parameters = list(self.parameters())
        return {"cloud": Objective(self.loss, parameters, self.make_optimizer, self.make_scheduler)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Sum of both losses, and each of them."""
        assert latent.mask is not None
        event = latent.x["event"]
        points, mask = trim(latent.x["points"], latent.mask)
        flow = cloud_loss(
            self._velocity(event, latent.cond), points, mask, self.path, self.ranked, generator
        )
        likelihood = -self.event_flow.log_prob(event, latent.cond).mean()
        return {"loss": flow + likelihood, "flow": flow, "event_nll": likelihood}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Numbers of the event, then its points."""
        scaled = self.transform.condition(cond)
        event = self.event_flow.sample(len(cond), scaled, generator)
        mask = self.transform.mask(event, cond)
        noise = torch.randn(len(cond), *self.spec.shape, generator=generator, device=event.device)
        longest = max(int(mask.sum(1).max()), 1)
        velocity = self._velocity(event, scaled)
        points = torch.zeros_like(noise)
        points[:, :longest] = sample_cloud(
            velocity, noise[:, :longest], mask[:, :longest], self.solver
        )
        return Latent({"event": event, "points": points}, scaled, mask)

    def _velocity(
        self, event: Tensor, cond: Tensor | None
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        parts = [part for part in (event if self.event_cond else None, cond) if part is not None]
        seen = torch.cat(parts, 1) if parts else None

        def velocity(x: Tensor, t: Tensor, mask: Tensor) -> Tensor:
            value: Tensor = self.net(x, t, mask, seen)
            return value

        return velocity
