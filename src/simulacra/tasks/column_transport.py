"""Transport of the columns of a table, given its conditions and the columns that stay.

Distances are those of :mod:`simulacra.transforms.moved_columns`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Field, Latent, Spec
from simulacra.core.pair import LABEL, unlabelled
from simulacra.tasks.transport import Transport
from simulacra.training.optim import Optim
from simulacra.transforms.moved_columns import MOVED, MovedColumns

MakeTransform = Callable[[Spec, Sequence[Field]], MovedColumns]


class ColumnTransport(Transport):
    """See the module's docstring; a family implements ``objectives`` and ``image``.

    Args:
        spec: A table, of two samples.
        given: Fields that steer the map (None: all conditions).
        transform: Makes the transform from the spec of one sample and the given fields.
        optim: How networks are trained.
    """

    transform: MovedColumns

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform, self.optim = transform(unlabelled(spec), self.given_fields), optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables."""
        if spec.kind != "table":
            return f"it moves columns of tables, and {spec.name} has events of kind {spec.kind}"
        return None

    @abstractmethod
    def image(self, y: Tensor, context: Tensor | None) -> Tensor:
        """Where normalised columns ``(B, D)`` go under contexts ``(B, C)``, or none."""

    @torch.no_grad()
    def map(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """See the base class; what is drawn is where a whole number lies in its interval."""
        with self.evaluating():
            latent = self.transform(batch.to(self.device), generator)
            moved = self.image(latent.x[MOVED], latent.cond)
            given = batch.conditions(self.given)
            x = self.transform.inverse(
                replace(latent, x={**latent.x, MOVED: moved}), given.to(self.device)
            ).x
        return replace(batch, x=x.cpu())


def sides(latent: Latent) -> tuple[Tensor, Tensor]:
    """Weights of the events of either sample, 0 for those of the other, ``(B,)`` each."""
    label = latent.x[LABEL.name]
    weight = torch.ones_like(label) if latent.weight is None else latent.weight
    return weight * label, weight * (1 - label)
