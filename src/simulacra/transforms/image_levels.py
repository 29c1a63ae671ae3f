r"""An image whose pixels are levels, for densities of whole numbers.

The levels (:mod:`simulacra.transforms.maps.levels`) lie between the threshold of a pixel and the largest
pixel of the training events with a margin, :math:`v_{max}`. What lies beyond has the last level; more than
one pixel in 100,000 is refused. Levels lose where in a level a pixel lies, which the closure measures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Levels, Spec, UserError
from simulacra.core.ranges import Count
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.levels import LogLevels

BEYOND = 1e-5
"""Largest share of the pixels of a batch that may lie beyond the last level; one always may."""


class ImageLevels(Transform):
    """See the module's docstring; one stage ``"image"`` ``(B, rows cols)``, whole numbers.

    Args:
        spec: One image ``(1, rows, cols)`` with a geometry and a threshold.
        given: Fields that the generator is given.
        levels: Levels of a pixel, with that of an empty one.
        margin: :math:`v_{max}` in units of the largest pixel of the training events, above 1.

    Raises:
        UserError: If the margin is not above 1.
    """

    exact = False
    largest: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[Field], levels: Count, margin: float = 1.1
    ) -> None:
        super().__init__(given)
        if not margin > 1:
            raise UserError(f"the largest level needs a margin above 1, got {margin:g}")
        self.spec, self.margin = spec, margin
        self.levels = LogLevels(levels)
        self.register_buffer("largest", torch.tensor(2.0 * spec.threshold))

    @property
    def layout(self) -> Layout:
        """How the levels lie, given conditions."""
        shape = self.spec.shape[1], self.spec.shape[2]
        levels = Levels(self.levels.count, self.reach)
        return Layout(
            shape[0] * shape[1], self.conditions.width, (), shape, None,
            geometry=self.spec.geometry, levels=levels,
        )  # fmt: skip

    def fit_statistics(self, batches: Batches) -> None:
        """The largest pixel."""
        most = torch.stack([batch.x.max() for batch in batches]).max().to(self.largest)
        self.largest.copy_((self.margin * most).clamp(min=2.0 * self.spec.threshold))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`.

        Raises:
            UserError: If too many pixels lie beyond the last level.
        """
        x = batch.x.flatten(1)
        beyond = int((x > self.largest).sum())
        if beyond > max(1, BEYOND * x.numel()):
            raise UserError(
                f"{beyond} of {x.numel()} pixels lie beyond the last level at {float(self.largest):.6g}, "
                f"up to {float(x.max()):.6g}: fit the transform to events like these, or raise its margin"
            )
        real = x >= self.spec.threshold
        log = torch.log(torch.where(real, x / self.spec.threshold, 1.0))
        log = torch.where(x < self.spec.threshold, -1.0, log)
        given = batch.conditions(self.conditions.names)
        levels = self.levels(log, self.reach(None, len(x)))
        return Latent({"image": levels.masked_fill(x.isnan(), torch.nan)}, self.condition(given))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`; within its level a pixel is drawn."""
        level = latent.x["image"]
        log = self.levels.inverse(level, self.reach(None, len(level)), generator)
        x = torch.where(log < 0, 0.0, self.spec.threshold * torch.exp(log))
        x = torch.where(x > 0, x.clamp(min=self.spec.threshold), x)
        return Batch(x.unflatten(-1, self.spec.shape), cond.values)

    def reach(self, context: Tensor | None, n: int) -> Tensor:
        """The logarithm of the largest pixel over the threshold ``(B, 1)``, the same for all images."""
        return torch.log(self.largest / self.spec.threshold).expand(n, 1)

    def log_slope(self, latent: Latent) -> Tensor:
        """Log-determinant ``(B,)`` from the logarithms of pixels to levels; empty pixels count with their
        probability.
        """
        return self.levels.log_slope(latent.x["image"], self.reach(None, len(latent))).sum(-1)

    def log_det(self, batch: Batch) -> Tensor:
        """Log-determinant ``(B,)`` from pixels [spec.unit] to their logarithms."""
        x = batch.x.flatten(1)
        real = x >= self.spec.threshold
        return -torch.log(torch.where(real, x, 1.0)).sum(-1)
