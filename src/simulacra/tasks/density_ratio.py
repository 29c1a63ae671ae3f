r"""Densities of two samples, whose ratio is the weight: what ANODE and R-ANODE share.

Both densities describe rows of a table as the same normal vectors :math:`z`, given the conditions :math:`c`.
The transform is one for both, so that what it does to volumes drops out of

.. math:: w(x) = \frac{p_1(z | c)}{p_2(z | c)} .

Where one of the densities is a tail that nothing was seen of, the ratio is a matter of chance: it counts as
:math:`e^{\pm 60}` at most.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Batch, Latent, Layout, Spec
from simulacra.core.pair import FIRST, LABEL, SECOND, unlabelled
from simulacra.dynamics.density import Density, MakeDensity, Rows
from simulacra.tasks.reweighter import Reweighter
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.table import MakeTableTransform, TableTransform

FARTHEST = 60.0
"""Logarithm of a ratio, at most, either way."""


class DensityRatio(Reweighter):
    """See the module's docstring; a family has parts that are densities and says what their ratio is.

    Args:
        spec: Rows of two samples.
        given: Fields that are given (None: all conditions).
        transform: Makes the transform.
        density: Makes each of the densities.
        optim: What moves them.
    """

    transform: TableTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTableTransform,
        density: MakeDensity,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(unlabelled(spec), self.given_fields)
        layout = Layout(self.transform.width, self.transform.conditions.width)
        self.first, self.second = density(layout), density(layout)
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables of any columns."""
        if spec.kind != "table":
            return f"it describes rows of tables, and {spec.name} has events of kind {spec.kind}"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, and the start of each density from the rows of its sample."""
        super().fit_transform(batches)
        with self.evaluating(), torch.no_grad():
            for density, label in ((self.first, FIRST), (self.second, SECOND)):
                own = [of_label(batch, label) for batch in batches]
                density.fit([self._rows(Batch.cat(own))])
        return self

    def _rows(self, batch: Batch) -> Rows:
        generator = torch.Generator(device=self.device).manual_seed(0)
        latent = self.encode(batch.to(self.device), generator)
        return latent.x["table"], latent.cond, latent.weight

    @abstractmethod
    def log_ratio(self, latent: Latent) -> Tensor:
        """``ln w`` of rows ``(B,)``."""

    @torch.no_grad()
    def ratio(self, batch: Batch) -> Tensor:
        """See the base class; point masses count with the middle of their interval."""
        with self.evaluating():
            logs = self.log_ratio(self.transform(batch.to(self.device)))
        return logs.clamp(-FARTHEST, FARTHEST).exp().cpu()


def of_label(batch: Batch, label: int) -> Batch:
    """Rows of one sample, with their label."""
    return batch[batch.event[LABEL.name][:, 0] == label]


def log_prob(density: Density, latent: Latent) -> Tensor:
    """Log density ``(B,)`` of rows."""
    return density.log_prob(latent.x["table"], latent.cond)


def log_prob_of(density: Density, latent: Latent, label: int) -> Tensor:
    """Log density ``(B,)`` of the rows of one sample, 0 of the others."""
    table, own = latent.x["table"], latent.x[LABEL.name] == label
    cond = None if latent.cond is None else latent.cond[own]
    found = table.new_zeros(len(table))
    return found.masked_scatter(own, density.log_prob(table[own], cond))
