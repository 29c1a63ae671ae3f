r"""R-ANODE: the density of a signal and its share, fitted with the density of the background held fixed.

As in ANODE (:mod:`simulacra.tasks.anode`) rows of ``second`` lie beside a mass window and teach the density
of the background :math:`p_B(x | c)`. It is held fixed in the second part of the training, in which rows of
``first``, within the window, are those of

.. math:: p(x | c) = \alpha\, p_S(x | c) + (1 - \alpha)\, p_B(x | c),

whose likelihood moves :math:`p_S` and, unless it is said to be known, :math:`\alpha`. A signal density has a
small thing to describe, where ANODE describes all data and looks for the difference. The weight is the ratio
:math:`p / p_B`, which rises with :math:`p_S / p_B`.

Weighs: rows of tables.
Reference: Das, Kasieczka, Shih, arXiv:2312.11629.

Note:
    A reading of the abstract, which says that a flow is fitted to the signal with the background model fixed,
    and that the signal fraction may be fixed or learnt. Ours are: densities given the mass in place of one of
    the mass, too, a share that is the same at all masses of the window, where it starts, and the two phases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from simulacra.core import Latent, Spec, UserError
from simulacra.core.pair import FIRST, LABEL, SECOND
from simulacra.core.ranges import Share
from simulacra.dynamics.density import MakeDensity
from simulacra.tasks.density_ratio import DensityRatio, log_prob, log_prob_of
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.table import MakeTableTransform


class RAnode(DensityRatio):
    """See the module's docstring; ``first`` is the density of the signal.

    Args:
        spec, given, transform, density, optim: As of the base class.
        background: Share of the training in which the background is learnt, in (0, 1).
        share: Share of the signal within the window, at the start or altogether, in (0, 1).
        learnt: Whether it is learnt.

    Raises:
        UserError: If a share is 0 or 1.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTableTransform,
        density: MakeDensity,
        optim: Optim,
        background: Share,
        share: Share,
        learnt: bool,
    ) -> None:
        super().__init__(spec, given, transform=transform, density=density, optim=optim)
        if not (0 < background < 1 and 0 < share < 1):
            raise UserError(
                f"shares of training and signal lie between 0 and 1, got {background} and {share}"
            )
        self.background, self.learnt = background, learnt
        self.odds = nn.Parameter(torch.tensor(math.log(share / (1 - share))), requires_grad=learnt)

    def objectives(self) -> dict[str, Objective]:
        """The background first, then the signal and its share."""
        share = [self.odds] if self.learnt else []
        signal = [*self.first.parameters(), *share]
        return {
            "background": Objective(
                self.background_loss,
                list(self.second.parameters()),
                self.optim,
                end=self.background,
            ),
            "signal": Objective(self.signal_loss, signal, self.optim, begin=self.background),
        }

    def background_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Negative log-likelihood [nat] per number of the rows beside the window, weighted."""
        found = log_prob_of(self.second, latent, SECOND)
        return {"loss": -latent.mean(found) / self.transform.width}

    def signal_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The same of the mixture, of the rows within the window; and the share of the signal."""
        with torch.no_grad():
            known = log_prob_of(self.second, latent, FIRST)
        whole = self._mixture(log_prob_of(self.first, latent, FIRST), known)
        inside = latent.x[LABEL.name] == FIRST
        found = latent.mean(torch.where(inside, whole, 0.0)) / self.transform.width
        return {"loss": -found, "share": self.odds.detach().sigmoid()}

    def log_ratio(self, latent: Latent) -> Tensor:
        """See the base class."""
        known = log_prob(self.second, latent)
        return self._mixture(log_prob(self.first, latent), known) - known

    def _mixture(self, signal: Tensor, background: Tensor) -> Tensor:
        """Log density of the mixture ``(B,)`` from those of its parts."""
        return torch.logaddexp(logsigmoid(self.odds) + signal, logsigmoid(-self.odds) + background)
