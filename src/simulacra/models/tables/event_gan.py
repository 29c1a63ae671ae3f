"""The event GAN: collisions as the four-momenta of their outgoing particles, with resonances.

Generates: three-momenta of all particles of a collision in one pass. Energies follow from their masses.
Conditions: none are needed. The critic is asked for the class of an event where one is given; anything else
    stands beside the noise, and the critic sees it.
Representation: tables of four-momenta and nothing else, as the data set says of itself.
Reference: Butter, Plehn, Winterhalder 2019, arXiv:1907.03764; code ramonpeter/EventGAN, commit 950b205, whose
    ``cards/params_paper.yaml`` has the published widths, rates and weights. Coordinates of momenta and
    further quantities for the critic: Alanazi et al. 2020, arXiv:2001.11103 (FAT-GAN).

A critic hardly resolves a narrow peak in one combination of many columns. So the generator also makes the
masses of resonances follow those of true events, each by itself
(:class:`~simulacra.dynamics.discrepancy.Matching`); a data set that names no resonance has none to follow.

Note:
    Differs from the reference: each coordinate is standardised by itself, not all by one number; the slope
    of the critic is taken with respect to what is generated, that is along momenta on the mass shell; a
    kernel is as wide as the resonance in the data, not as in theory; masses that differ between events, such
    as those of light quarks in ``events``, are their medians.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from simulacra.core import Field, Latent, Spec
from simulacra.dynamics.discrepancy import Matching
from simulacra.models.two_player import MakePlayer, Rules, TwoPlayer
from simulacra.nn.rows import RowCanvas
from simulacra.nn.verdicts import Verdict
from simulacra.training.optim import Optim
from simulacra.transforms.four_momenta import FourMomenta, only_momenta


class EventGAN(TwoPlayer):
    """See the module's docstring.

    Args:
        spec: See :class:`TwoPlayer`, as all but the one that says more.
        given: What is given.
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
        matching: How masses of resonances are made to follow those of true events.
        optim: What moves the generator.
        critic_optim: What moves the critic.
    """

    transform: FourMomenta
    stage = "momenta"

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], FourMomenta],
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        matching: Matching,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        self.matching = matching

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables of nothing but four-momenta."""
        return only_momenta(spec)

    @property
    def canvas(self) -> RowCanvas:
        """Widths of what is generated and of what the critic sees."""
        return RowCanvas(self.transform.made, self.transform.seen)

    def verdict(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """See :meth:`TwoPlayer.verdict`; the critic also sees what follows from the momenta."""
        return self.critic(self.transform.seen_by_critic(events), cond)

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """How far the masses of the resonances are from those of true events."""
        if not (self.matching.weight and self.spec.resonances):
            return {}
        made, real = (self.transform.resonance_masses(z) for z in (events, latent.x[self.stage]))
        return {"masses": self.matching(made, real, latent.weight)}
