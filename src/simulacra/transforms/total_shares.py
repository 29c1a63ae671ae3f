"""Single images as their content and the pixels' shares of it, on a square with a power of two rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.pxd import CentredPadding


class TotalShares(Transform):
    """Stages ``total`` ``(B, 1)``, the standardised logarithm of the content, and ``shares``
    ``(B, rows, rows)``.

    The square has as many rows as the next power of two; the image lies in its middle. An image without any
    content has that of the threshold as its total, and shares of zero.

    Args:
        spec: Single images ``(1, rows, columns)``.
        given: Fields that the model is given.
    """

    mean: Tensor
    width: Tensor

    def __init__(self, spec: Spec, given: Sequence[Field]) -> None:
        super().__init__(given)
        _, rows, cols = spec.shape
        self.padding = CentredPadding((rows, cols), 1 << (max(rows, cols) - 1).bit_length())
        self.least = spec.threshold or 1e-12
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("width", torch.ones(()))

    def inside(self) -> Tensor:
        """Which pixels of the square belong to the image, bool ``(rows, rows)``."""
        return self.padding(torch.ones(self.padding.size, dtype=torch.bool))

    def fit_statistics(self, batches: Batches) -> None:
        """Mean and width of the logarithm of the content."""
        logs = torch.cat([self._content(batch).log() for batch in batches])
        self.mean.copy_(logs.mean())
        self.width.copy_(logs.std().clamp_min(1e-6))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See the class."""
        content = self._content(batch)
        total = (content.log() - self.mean) / self.width
        shares = self.padding(batch.x[:, 0]) / content[:, :, None]
        cond = self.condition(batch.conditions(self.conditions.names))
        return Latent({"total": total, "shares": shares}, cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Images in the data set's unit."""
        content = (latent.x["total"] * self.width + self.mean).exp()
        x = self.padding.inverse(latent.x["shares"] * content[:, :, None])
        return Batch(x[:, None], cond.values)

    def _content(self, batch: Batch) -> Tensor:
        """Content ``(B, 1)``, at least the threshold."""
        return batch.x.flatten(1).sum(1, keepdim=True).clamp_min(self.least)
