r"""Normalisation of jets as clouds whose particles have the mass that the event's numbers say.

To :mod:`simulacra.transforms.cloud` this adds one number of the event, right after the number of
particles: the mass of the particles in units of the jet's transverse momentum. Of massless particles with
:math:`z_i = p_{T,i} / p_T^{jet}` it is

.. math:: m^2 = \sum_i z_i e^{\eta_i} \sum_i z_i e^{-\eta_i} - \Big|\sum_i z_i e^{i \phi_i}\Big|^2 .

The inverse stretches all angles about the jet's centre by one factor :math:`s`, so that the mass is
exactly that number: :math:`m(s)` rises with :math:`s`, so that bisection finds it to float64's precision.
A single particle has no mass whatever the number says, and no particle is moved further than
:data:`FARTHEST` from the centre.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Latent, Spec, UserError
from simulacra.core.ranges import Whole
from simulacra.transforms.cloud import CloudStandardise, CloudTransform, MakePoints
from simulacra.transforms.maps.quantile import QuantileMap

ANGLES = ("etarel", "phirel")
FARTHEST = 2.5
"""Largest distance from the centre in either angle that is made by stretching [rad]."""
ROUNDS = 56
"""Halvings of the interval of the factor."""


def is_jet(spec: Spec) -> bool:
    """Whether points are particles that have a mass together: two angles first, and transverse momenta."""
    names = tuple(field.name for field in spec.features[:2])
    return (
        spec.kind == "cloud" and names == ANGLES and any(f.role == "share" for f in spec.features)
    )


def relative_mass(x: Tensor, energy: int) -> Tensor:
    """Mass of massless particles ``(B, N, F)`` over the jet's transverse momentum, float64 ``(B,)``.

    It is differentiable; the gradient of massless jets is 0.

    Args:
        x: Pseudorapidity and azimuth first, 0 where padded.
        energy: Column of the relative transverse momentum.
    """
    eta, phi, z = x[..., 0].double(), x[..., 1].double(), x[..., energy].double()
    along = (z * eta.exp()).sum(1) * (z * (-eta).exp()).sum(1)
    across = (z * phi.cos()).sum(1).square() + (z * phi.sin()).sum(1).square()
    square = along - across
    some = square > 1e-14 * along  # below lies what rounding leaves
    return torch.where(some, torch.where(some, square, 1.0).sqrt(), 0.0)


def with_mass(x: Tensor, mask: Tensor, wanted: Tensor, energy: int) -> Tensor:
    """The clouds whose angles are stretched about their centres so that their masses are ``wanted``.

    Args:
        x: Particles ``(B, N, F)``.
        mask: Real particles ``(B, N)``.
        wanted: Relative masses ``(B,)``, of which those below 0 count as 0.
        energy: Column of the relative transverse momentum.
    """
    wide = x.double()
    z = torch.where(mask, wide[..., energy], 0.0)
    share = (z / z.sum(1, keepdim=True).clamp_min(1e-300))[..., None]
    angles = wide[..., :2]
    centre = (share * angles).sum(1, keepdim=True)
    apart = torch.where(mask[..., None], angles - centre, 0.0)
    aim = wanted.double().clamp_min(0)
    most = FARTHEST / apart.abs().amax((1, 2)).clamp_min(1e-12)
    low, high = torch.zeros_like(most), most
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        made = relative_mass(torch.cat([middle[:, None, None] * apart, z[..., None]], -1), 2)
        low, high = torch.where(made > aim, low, middle), torch.where(made > aim, middle, high)
    moved = centre + high[:, None, None] * apart
    found = torch.cat([moved, wide[..., 2:]], -1).to(x.dtype)
    return torch.where(mask[..., None], found, x)


class JetMassTransform(CloudTransform):
    """See the module's docstring; the inverse also gives the points the moments, with ``calibrate``, before.

    Args:
        spec: See :class:`~simulacra.transforms.cloud.CloudTransform`, as all others.
        given: Names of the given fields.
        points: Makes the map of the points.
        leading: Number of leading features with centres and widths.
        calibrate: Whether the inverse gives the points the moments in ``"event"``.
        seen: How many leading numbers of the event the points are conditioned on: 2 for how many there are
            and their mass (None: all).

    Raises:
        UserError: If the particles have no mass together.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        points: MakePoints = CloudStandardise,
        leading: Whole = 2,
        calibrate: bool = False,
        seen: Whole | None = None,
    ) -> None:
        super().__init__(spec, given, points, leading, calibrate, seen)
        if not is_jet(spec):
            raise UserError(f"{spec.name} has no angles and transverse momenta that make a mass")
        self.place = self.start  # of the mass
        self.start, self.width = self.start + 1, self.width + 1
        self.seen = self.width if seen is None else min(seen, self.width)
        self.event = QuantileMap(self.width)

    def raw_mass(self, points: Tensor, mask: Tensor) -> Tensor:
        """Relative mass ``(B,)`` of normalised points ``(B, N, F)`` as they are, differentiable."""
        return relative_mass(self.points.inverse(points, mask), self.energy)

    def _placed(self, latent: Latent, columns: Tensor) -> Tensor:
        x = super()._placed(latent, columns)
        if latent.mask is None:
            raise UserError("these events are no clouds: they have no mask")
        return with_mass(x, latent.mask, columns[:, self.place], self.energy)

    def _columns(self, batch: Batch, part: Tensor) -> Tensor:
        columns = super()._columns(batch, part)
        mass = relative_mass(batch.x, self.energy).to(columns)[:, None]
        return torch.cat([columns[:, : self.place], mass, columns[:, self.place :]], 1)
