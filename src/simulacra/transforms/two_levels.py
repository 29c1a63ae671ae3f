"""Two levels of a table, each as standard normal vectors: features, and what a module is given of them.

The given fields, conditions that are the detector level, are a table of their own here, so that a network can
make them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.table import TableTransform


class TwoLevels(Transform):
    """See the module's docstring. Stages are ``table``, ``(B, D)``, and ``given``, ``(B, C)``.

    Args:
        spec: The data set, of kind table.
        given: Fields that are given, at least one.
        level: Makes the transform of one level from its spec and what is given of it.
    """

    def __init__(
        self, spec: Spec, given: Sequence[Field], level: Callable[..., TableTransform]
    ) -> None:
        super().__init__(given)
        self.features = level(spec, given)
        own = spec.with_(
            features=tuple(given), shape=(len(given),), conditions=(), event=(), prior=(),
            particles=(), resonances=(),
        )  # fmt: skip
        self.given = level(own, ())

    def fit_statistics(self, batches: Batches) -> None:
        """Those of both levels."""
        self.features.fit(batches)
        self.given.fit([self._given(batch) for batch in batches])

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :meth:`~simulacra.transforms.base.Transform.forward`."""
        features = self.features(batch, generator)
        given = self.given(self._given(batch), generator)
        return Latent({"table": features.x["table"], "given": given.x["table"]}, features.cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Features of the stage ``table``; nothing is drawn."""
        return self.features.inverse(latent, cond, generator)

    def scaled(self, cond: Conditions, generator: torch.Generator | None = None) -> Tensor:
        """Given fields in physical units as the stage ``given``; ``generator`` as of :meth:`forward`."""
        found: Latent = self.given(Batch(self._columns(cond)), generator)
        return found.x["table"]

    def unscaled(self, values: Tensor) -> dict[str, Tensor]:
        """The stage ``given`` in physical units, ``(B, 1)`` by name."""
        x = self.given.inverse(Latent({"table": values}), Conditions(len(values))).x
        return {
            field.name: x[:, [i]].long() if field.classes is not None else x[:, [i]]
            for i, field in enumerate(self.given.features)
        }

    def _columns(self, cond: Conditions) -> Tensor:
        return torch.cat([cond.values[name].float() for name in self.conditions.names], 1)

    def _given(self, batch: Batch) -> Batch:
        columns = self._columns(batch.conditions(self.conditions.names))
        return Batch(columns, weight=batch.weight)
