r"""Coordinates of momenta that are easy to generate, and quantities that tell true events from others.

A :class:`Chart` takes a momentum :math:`(p_x, p_y, p_z)` to three coordinates and back. What a critic is
shown beside these is :class:`Shown`: quantities that follow from a four-momentum.

Reference: Alanazi et al., arXiv:2001.11103 (FAT-GAN): transformed features for the generator, augmented ones
for the critic.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.momenta import transverse
from simulacra.core.ranges import Positive

SOFTEST = 1e-3
"""Smallest transverse momentum in a pseudorapidity, in the unit of the data."""
FURTHEST = 20.0
"""Largest absolute pseudorapidity that is generated."""


@role
class Chart(ABC):
    """Coordinates ``(*, 3)`` of momenta ``(*, 3)``, one for one."""

    @abstractmethod
    def forward(self, momentum: Tensor) -> Tensor:
        """Coordinates of momenta."""

    @abstractmethod
    def inverse(self, coordinates: Tensor) -> Tensor:
        """Momenta that have the coordinates."""


class Cartesian(Chart):
    """The components themselves."""

    def forward(self, momentum: Tensor) -> Tensor:
        """See :meth:`Chart.forward`."""
        return momentum

    def inverse(self, coordinates: Tensor) -> Tensor:
        """See :meth:`Chart.inverse`."""
        return coordinates


class Pseudorapid(Chart):
    r""":math:`(p_x, p_y, \eta)` with :math:`\sinh \eta = p_z / p_T`, for long tails along the beam."""

    def forward(self, momentum: Tensor) -> Tensor:
        """See :meth:`Chart.forward`."""
        return torch.cat([momentum[..., :2], pseudorapidity(momentum)[..., None]], -1)

    def inverse(self, coordinates: Tensor) -> Tensor:
        """See :meth:`Chart.inverse`."""
        across, eta = coordinates[..., :2], coordinates[..., 2:]
        along = eta.clamp(-FURTHEST, FURTHEST).sinh()
        return torch.cat([across, across.norm(dim=-1, keepdim=True).clamp_min(SOFTEST) * along], -1)


class BelowBeam(Chart):
    r""":math:`(p_x, p_y, \ln(E_b - p_z))`, for particles of a beam of energy :math:`E_b`, which
    :math:`p_z` comes close to, but never exceeds (arXiv:2001.11103).

    Args:
        energy: Energy of the beam, in the unit of the data.
    """

    def __init__(self, energy: Positive) -> None:
        self.energy = energy

    def forward(self, momentum: Tensor) -> Tensor:
        """See :meth:`Chart.forward`.

        Raises:
            UserError: If a particle is faster than the beam.
        """
        along = momentum[..., 2:]
        if bool((along.abs() >= self.energy).any()):
            raise UserError(
                f"a particle has the longitudinal momentum {float(along.abs().max()):g}, which is not below "
                f"the beam's energy {self.energy:g}: set chart.energy"
            )
        return torch.cat([momentum[..., :2], (self.energy - along).log()], -1)

    def inverse(self, coordinates: Tensor) -> Tensor:
        """See :meth:`Chart.inverse`; no particle comes back that is faster than the beam."""
        below = coordinates[..., 2:].clamp_max(math.log(2 * self.energy)).exp()
        return torch.cat([coordinates[..., :2], self.energy - below], -1)


@role
class Shown(ABC):
    """What a critic is shown of each particle beside the coordinates of its momentum."""

    width: int
    """Quantities of a particle."""

    @abstractmethod
    def __call__(self, momentum: Tensor) -> Tensor:
        """Quantities ``(*, width)`` of four-momenta ``(*, 4)``."""


class Energies(Shown):
    """The energy, so that the critic sees four-momenta."""

    width = 1

    def __call__(self, momentum: Tensor) -> Tensor:
        """See :class:`Shown`."""
        return momentum[..., :1]


class Augmented(Shown):
    r"""Energy, :math:`p_z`, :math:`p_T` and pseudorapidity.

    Note:
        In the place of :math:`\eta` the reference shows :math:`p_z / p_T = \sinh\eta`, whose tail has no
        bound.
    """

    width = 4

    def __call__(self, momentum: Tensor) -> Tensor:
        """See :class:`Shown`."""
        eta = pseudorapidity(momentum[..., 1:])
        return torch.stack([momentum[..., 0], momentum[..., 3], transverse(momentum), eta], -1)


def pseudorapidity(momentum: Tensor) -> Tensor:
    """Pseudorapidity ``(*)`` of momenta ``(*, 3)``, not beyond those of :data:`SOFTEST`."""
    pt = momentum[..., :2].norm(dim=-1).clamp_min(SOFTEST)
    return torch.asinh(momentum[..., 2] / pt)
