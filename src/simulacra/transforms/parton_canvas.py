"""Jets of partons as they are, for networks that make final states and networks that look at them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.shower_trees import FEATURES


class PlainPartons(Transform):
    """The stage ``partons`` is ``(B, N, 3)``, both angles [rad] and momentum; nothing is scaled.

    Args:
        spec: Jets of partons.
        given: Fields that the model is given.
    """

    def __init__(self, spec: Spec, given: Sequence[Field]) -> None:
        super().__init__(given)
        names = [field.name for field in spec.features]
        self.columns = [names.index(name) for name in FEATURES]
        self.count = next((field.name for field in spec.event if field.role == "count"), None)

    def fit_statistics(self, batches: Batches) -> None:
        """There are none."""

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See the class."""
        given = self.condition(batch.conditions(self.conditions.names))
        return Latent({"partons": batch.x[..., self.columns]}, given, batch.mask, batch.weight)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """The same columns in their places."""
        assert latent.mask is not None
        x = torch.empty_like(latent.x["partons"])
        x[..., self.columns] = latent.x["partons"]
        count = latent.mask.sum(1, keepdim=True).float()
        event = {} if self.count is None else {self.count: count}
        return Batch(x * latent.mask[..., None], {}, event, latent.mask)
