"""Adversarial networks of showers on a regular grid: the simple one of "Getting High" and what others share.

Generates: cell energies on ``(L, rows, cols)`` grids in one pass.
Conditions: the incident energy, which multiplies the noise; any further condition stands beside it.
Representation: regular grids with an incident energy; empty cells are zeros of a last ReLU.
Reference: Buhmann et al., arXiv:2005.05334, whose first and simplest model it is; code
    FLC-QU-hep/getting_high, commit 3547483. At 30 x 30 x 30 cells and one condition generator and critic have
    the layers of that code, 4,392,224 and 2,056,097 parameters.

Note:
    Differs from the reference: conditions enter the critic scaled to [-1, 1], and the noise is multiplied by
    the energy over the largest one; generated showers are asked for the energies of the true ones of the
    batch; generator and critic do not share their generated showers. Other grids get the same networks with
    start size, cropping and kernels derived from their size. Options that are off at published size: cells as
    logarithms, empty below the cut; sums along the axes for the critic; conditions beside the noise instead
    of multiplied with it; a network that draws the sum of all cells first.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor

from simulacra.core import Latent, Spec
from simulacra.models.two_player import TwoPlayer
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.verdicts import Verdict
from simulacra.nn.volumes import Sum, Volumes
from simulacra.transforms.volume import ToldVolumes


class GAN3D(TwoPlayer):
    """See the module's docstring; arguments are those of :class:`TwoPlayer`."""

    transform: ToldVolumes
    stage = "shower"

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        return ToldVolumes.unfit(spec)

    @property
    def canvas(self) -> Volumes:
        """What the volumes are."""
        transform = self.transform
        return Volumes(self.spec.shape, transform.shown, transform.rescaled, transform.log_response)

    def described(self) -> Columns:
        """What the columns of the conditions are, the incident energy among them."""
        return Columns.of(self.given_fields, self.spec.by_role("energy"))

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """What the head of the sums minimises for true showers."""
        head = cast(Sum, self.net.sum)
        found = head.losses(latent.x[self.stage], cast(Tensor, latent.cond))
        return {name: latent.mean(values) for name, values in found.items()}

    def verdict(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """See :meth:`TwoPlayer.verdict`; the critic is shown sums, too, where the transform has them."""
        return self.critic(events, self.transform.known(events, cast(Tensor, cond)))
