r"""JetFlow: a normalising flow of all particles of a jet, conditioned on its mass and constrained to it.

Generates: complete jets. A density draws the number of particles, their mass and the jet's other numbers;
    a flow of coupling layers with rational quadratic splines then turns noise into all features of all
    particles together, given those numbers and everything that is given; the transform stretches the jet to
    exactly the drawn mass.
Conditions: whatever the data set is conditioned on (jet class), and any event field listed in ``given``.
Representation: jets of up to 150 particles with two angles and relative transverse momenta.
Reference: Käch et al. 2022, arXiv:2211.13630; code kaechb/JetNetNF.

A jet is one vector: its particles in the order of falling transverse momentum, so that the order in a
file changes nothing, and noise in the place of those that it does not have. With the mass :math:`m` that
the flow was given, that of the particles which it makes, :math:`\hat m`, and the spread :math:`\sigma_m`
of a batch, the loss is

.. math:: -\ln p(x | m, N, c) / D + \lambda\, \langle (\hat m - m)^2 \rangle / \sigma_m^2 .

Note:
    From the abstract: spline couplings, up to 30 particles, mass and number of particles as conditions, a
    mass drawn by its empirical distribution, the constraint as a term of the loss. From the public code:
    one vector of all particles, random halves in the couplings, masked particles set to zero. Our own
    choices: the noise in place of missing particles, units of :math:`\sigma_m`, the exact mass of the
    result, all other numbers of the jet, a spline flow of quantile-normalised numbers that draws them
    (``numbers=kde`` draws those of training jets, which is nearer to the paper), and every size: that of
    the published model is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Layout, Spec, draws
from simulacra.core.ranges import NotNegative
from simulacra.dynamics.density import MakeDensity
from simulacra.models.clouds.cloud import CloudModel
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.jet_mass import JetMassTransform, is_jet


class JetFlow(CloudModel):
    """See the module's docstring.

    Args:
        spec: See :class:`~simulacra.models.clouds.cloud.CloudModel`, as the next three.
        given: What is given.
        transform: The transform.
        numbers: The event's numbers.
        points: Makes the density of the particles of a jet as one vector.
        constraint: Weight of the mass constraint in the loss; 0 saves sampling in training.
        optim: How all parameters are moved.
    """

    transform: JetMassTransform
    most_points = 150

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[str]], JetMassTransform],
        numbers: MakeDensity,
        points: MakeDensity,
        constraint: NotNegative,
        optim: Optim,
    ) -> None:
        super().__init__(spec=spec, given=given, transform=transform, numbers=numbers)
        self.point_flow = points(Layout(spec.shape[0] * self.features, self.context_width))
        self.constraint, self.optim = constraint, optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Jets of particles, not too many of them."""
        reason = super().accepts(spec)
        if reason is None and not is_jet(spec):
            return f"it generates particles of a jet, and the points of {spec.name} are none"
        return reason

    def objectives(self) -> dict[str, Objective]:
        """One, the loss of the module's docstring plus the likelihood of the event's numbers."""
        return {"jets": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss and its parts; every jet counts as much as its weight says."""
        points, mask = self._ordered(latent)
        context = self.context(latent.x["event"], latent.cond)
        noise = draws.normal(points.shape, points, generator)
        vector = torch.where(mask[..., None], points, noise).flatten(1)
        parts = {
            "points": self.point_flow.loss(vector, context, latent.weight, generator),
            **self.learnt_numbers(latent),
        }
        total = torch.stack(list(parts.values())).sum()
        if self.constraint > 0:
            parts["mass"] = self._mass_distance(points, mask, context, latent, generator)
            total = total + self.constraint * parts["mass"]
        return {"loss": total, **parts}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """See :meth:`~simulacra.models.clouds.cloud.CloudModel.draw_points`."""
        vector = self.point_flow.sample(len(mask), context, generator)
        points = vector.unflatten(1, (-1, self.features))[:, : mask.shape[1]]
        return torch.where(mask[..., None], points, 0.0)

    def _mass_distance(
        self,
        points: Tensor,
        mask: Tensor,
        context: Tensor | None,
        latent: Latent,
        generator: torch.Generator | None,
    ) -> Tensor:
        made = self.draw_points(mask, context, generator)
        true, found = (self.transform.raw_mass(x, mask) for x in (points, made))
        spread = latent.mean((true - latent.mean(true)).square()).clamp_min(1e-12)
        return latent.mean((found - true).square() / spread).to(points.dtype)

    def _ordered(self, latent: Latent) -> tuple[Tensor, Tensor]:
        """Normalised points and mask, by falling transverse momentum, padding last."""
        points, mask = latent.x["points"], latent.mask
        assert mask is not None
        last = torch.finfo(points.dtype).min
        level = points[..., self.transform.energy].masked_fill(~mask, last)
        order = level.argsort(dim=1, descending=True, stable=True)
        wide = order[..., None].expand_as(points)
        return points.gather(1, wide), mask.gather(1, order)
