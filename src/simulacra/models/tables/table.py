"""Tables of quantities per event from one density of all columns: what the families of tables share.

The transform makes a row a normal vector, and a density describes that vector given the conditions; features
and those event fields that are not given are generated together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Latent, Layout, Spec
from simulacra.dynamics.density import MakeDensity, Rows
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.table import MakeTableTransform as MakeTransform
from simulacra.transforms.table import TableTransform


class TableModel(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: The data set, of kind table.
        given: Conditions and event fields that are given (None: the conditions).
        transform: Makes the transform.
        density: Makes the density.
        optim: What moves it.
    """

    transform: TableTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        density: MakeDensity,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.density = density(Layout(self.transform.width, self.transform.conditions.width))
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables of any columns."""
        if spec.kind != "table":
            return f"it generates rows of tables, and {spec.name} has events of kind {spec.kind}"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, and the start of the density."""
        super().fit_transform(batches)
        with self.evaluating():
            self.density.fit(self._rows(batches))
        return self

    def objectives(self) -> dict[str, Objective]:
        """One: the loss of the density."""
        return {"table": Objective(self.loss, list(self.density.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Loss of the density over weighted events."""
        loss = self.density.loss(latent.x["table"], latent.cond, latent.weight, generator)
        return {"loss": loss}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Rows for given conditions."""
        scaled = self.transform.condition(cond)
        return Latent({"table": self.density.sample(cond.n, scaled, generator)}, scaled)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of rows; of point masses and whole numbers their probability, in so far as the
        density changes in the interval that they fill as a normal one does.

        Raises:
            UserError: If the density is not exact, or a column is periodic.
        """
        with self.evaluating():
            latent = self.encode(batch.to(self.device))
            found = self.density.log_prob(latent.x["table"], latent.cond)
            return found + self.transform.log_det(batch.to(self.device))

    @torch.no_grad()
    def _rows(self, batches: Batches) -> Iterator[Rows]:
        generator = torch.Generator(device=self.device).manual_seed(0)
        for batch in batches:
            latent = self.encode(batch.to(self.device), generator)
            yield latent.x["table"], latent.cond, latent.weight
