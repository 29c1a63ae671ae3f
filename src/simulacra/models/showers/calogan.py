"""CaloGAN: adversarial networks of showers in a few layers of images that see each other.

Generates: cells of all layers in one pass. Numbers of an event that are not given, such as the energy outside
    of the layers, are drawn afterwards from a density, given conditions and layer energies.
Conditions: the incident energy; the class of the particle where the data set has several (then the critic is
    asked for it, too); anything else, such as a point of impact, stands beside the noise and is seen by the
    critic.
Representation: layers of any rasters; empty cells are zeros of a last ReLU.
Reference: Paganini, de Oliveira, Nachman 2017, arXiv:1705.02355 and arXiv:1712.10321; code hep-lbdl/CaloGAN,
    commit 1adb7ab. For layers of 3 x 96, 12 x 12 and 12 x 6 cells the generator has 29,726,280 parameters, as
    there.

Note:
    Differs from the reference: the critic takes one step on the sum of its losses on true and on generated
    showers, not one on each; generated showers are asked for the conditions of the true ones of the batch; an
    image is carried to the next layer by the overlap of their cells, which for the reference's rasters is its
    pooling and repeating. The reference has no further conditions. Options that are off at published size:
    numbers of cells relative to the incident energy or logarithmic, conditions beside the noise instead of
    multiplied with it, layers before the images, hits with a gradient, and logarithms of layer energies for
    the critic.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from simulacra.core import Geometry, Latent, Spec
from simulacra.core.ranges import NotNegative
from simulacra.dynamics.density import MakeDensity
from simulacra.models.showers.shower_gan import MakeShowers, ShowerGAN
from simulacra.models.two_player import MakePlayer, Rules
from simulacra.nn.verdicts import Verdict
from simulacra.training.optim import Optim


class CaloGAN(ShowerGAN):
    """See the module's docstring.

    Args:
        spec: See :class:`ShowerGAN`, as all but the one that says more.
        given: What is given.
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
        balance: Weight of the mean absolute difference of visible and incident energy in the generator's loss
            [1/GeV].
        numbers: The density of the event's numbers that are not given.
        optim: What moves the generator.
        critic_optim: What moves the critic.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeShowers,
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        balance: NotNegative,
        numbers: MakeDensity,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            numbers=numbers, optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        self.balance = balance

    @property
    def canvas(self) -> Geometry:
        """The layers."""
        return self.geometry

    def verdict(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """See :meth:`TwoPlayer.verdict`; the critic sees energies, too."""
        assert cond is not None
        cells = self.transform.cell_energies(events, cond)
        return self.critic(events, cells, self.transform.incident_energy(cond), cond)

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """How far the visible energy is from the incident one."""
        if not self.balance:
            return {}
        assert latent.cond is not None
        visible = self.transform.cell_energies(events, latent.cond).sum(1, keepdim=True)
        gap = (visible - self.transform.incident_energy(latent.cond)).abs()
        return {"energy": self.balance * latent.mean(gap)}
