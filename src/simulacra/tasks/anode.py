r"""ANODE: densities of data within a mass window and beside it, whose ratio tells a signal.

Rows of the sample ``first`` are those within the window, rows of ``second`` those beside it; conditions, the
mass among them, are given to both densities. Each minimises the negative log-likelihood of its own rows. That
of ``second`` has learnt how the background changes with the mass and is asked for masses within the window,
which it has not seen: the ratio is that of all events to the background there.

Weighs: rows of tables.
Reference: Nachman and Shih, arXiv:2001.04990.

Note:
    The densities are spline couplings in place of affine autoregressive ones, and share one transform. The
    published method scores the rows that it learns from; a checkpoint of this one refuses them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Latent
from simulacra.core.pair import FIRST, SECOND
from simulacra.tasks.density_ratio import DensityRatio, log_prob, log_prob_of
from simulacra.training.objective import Objective


class Anode(DensityRatio):
    """Two densities; arguments as of the base class."""

    def objectives(self) -> dict[str, Objective]:
        """One: the likelihood of both samples, each in its own density."""
        moved = [*self.first.parameters(), *self.second.parameters()]
        return {"densities": Objective(self.loss, moved, self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Negative log-likelihood [nat] per number, weighted."""
        found = log_prob_of(self.first, latent, FIRST) + log_prob_of(self.second, latent, SECOND)
        return {"loss": -latent.mean(found) / self.transform.width}

    def log_ratio(self, latent: Latent) -> Tensor:
        """See the base class."""
        return log_prob(self.first, latent) - log_prob(self.second, latent)
