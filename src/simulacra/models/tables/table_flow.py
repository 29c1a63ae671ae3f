"""Table-Flow: a normalising flow of splines of all columns of a table.

Generates: rows of any columns, continuous, whole or classes, with point masses and periodic ones, together
    with those event fields that are not given.
Conditions: the columns that are conditions, and any event field listed in ``given``; none are needed.
Representation: tables.
Reference: Durkan, Bekasov, Murray, Papamakarios 2019, arXiv:1906.04032, for the splines; Bellagente et al.
    2021, arXiv:2104.04543, for weights with a posterior.

A density that is made with ``bayesian`` has normally distributed weights (:mod:`simulacra.nn.variational`).
The loss then holds their divergence from the prior, which also takes the place of weight decay, and each draw
of the weights is a generator of its own.

Note:
    The model is our own, so that no size of it is published. What it maximises is the likelihood of the
    normal vectors, with the noise that fills the intervals of point masses and the radii of periodic columns;
    rows without periodic columns have a ``log_prob``. Any other
    :class:`~simulacra.dynamics.density.Density` may take the flow's place.
    The posterior is that of the flow; what the transform has learned of the columns is not varied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Latent
from simulacra.models.tables.table import TableModel
from simulacra.training.bayesian import Variational, undecayed
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim


class TableFlow(Variational, TableModel):
    """A density with an exact likelihood of all columns, by maximum likelihood or with a posterior."""

    def objectives(self) -> dict[str, Objective]:
        """As of the base class; a posterior has a prior in place of weight decay."""
        (objective,) = super().objectives().values()
        optim = objective.optim
        if self.has_posterior:
            optim = Optim(undecayed(optim.optimizer), optim.scheduler)
        return {"table": Objective(self.loss, objective.parameters, optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """As of the base class, and the divergence of the weights per training event."""
        values = super().loss(latent, generator)
        if not self.has_posterior:
            return values
        found = self.divergence(self.density)
        whole = values["loss"] + found / self.transform.width  # the likelihood is one per number
        return {"loss": whole, "divergence": found.detach()}
