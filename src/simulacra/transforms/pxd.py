r"""Logarithm of pixel charges for networks that end in tanh.

With the largest charge ``q`` of the data set (255 ADU for a single 8-bit pixel), images padded with
empty rows and columns on both sides to a multiple of the network's stride are mapped to

.. math:: y = 2 \left( \frac{\ln(1 + x)}{\ln(1 + q)} + 0.004\,u \right) - 1, \qquad u \sim U(0, 1),

the noise ``u`` only in training. The inverse rounds to whole ADU, drops what is then below the
read-out threshold, and removes the padding; without noise it gives back every charge that the data
can hold, 0 and threshold to ``q``.

Reference: IEA-GAN, arXiv:2303.08046. Its evaluation keeps fractions of an ADU, and its export
truncates them, which lowers charges by 0.5 ADU; it cuts at ``y = -0.26``, 6.78 ADU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import (
    Batch,
    Conditions,
    Field,
    IncompatibleError,
    Latent,
    Spec,
    UserError,
    draws,
)
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.base import Map

NOISE = 4e-3


class LogCharge(Map):
    """``y = 2 ln(1 + x) / ln(1 + largest) - 1`` for whole charges ``x``.

    Args:
        largest: Charge that is mapped to 1; charges above it come back as it [ADU].
        threshold: Charges below it come back as 0 [ADU].
    """

    def __init__(self, largest: float, threshold: float = 0.0) -> None:
        super().__init__()
        if largest <= threshold or threshold < 0:
            raise UserError(
                f"the largest charge must exceed the threshold, got {largest} and {threshold}"
            )
        self.largest, self.threshold = largest, threshold
        self.scale = math.log1p(largest)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Charges to [-1, 1]."""
        return 2 * torch.log1p(x) / self.scale - 1

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Whole charges, 0 below the threshold."""
        x = torch.expm1((y.clamp(-1, 1) + 1) / 2 * self.scale).round()
        return torch.where(x < self.threshold, torch.zeros_like(x), x)


class CentredPadding(Map):
    """Rows and columns of zeros on both sides, up to the next multiple of ``stride``; one more
    behind if uneven.

    Args:
        size: Rows and columns of an image.
        stride: What rows and columns shall be a multiple of.
    """

    def __init__(self, size: tuple[int, int], stride: int) -> None:
        super().__init__()
        if stride < 1:
            raise UserError(f"the stride must be at least 1, got {stride}")
        self.size = size
        self.before = tuple(-n % stride // 2 for n in size)
        self.after = tuple(
            -n % stride - before for n, before in zip(size, self.before, strict=True)
        )

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns after padding."""
        rows, cols = (n + b + a for n, b, a in zip(self.size, self.before, self.after, strict=True))
        return rows, cols

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(..., rows, cols)`` to ``(..., *padded)``."""
        return functional.pad(x, (self.before[1], self.after[1], self.before[0], self.after[0]))

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Drop the padding."""
        (row, col), (rows, cols) = self.before, self.size
        return y[..., row : row + rows, col : col + cols]


class PixelScaling(Transform):
    """Stacks of pixel images for a generator: one latent stage ``"image"`` of shape
    ``(B, S, *size)``.

    Args:
        spec: Images ``(S, rows, cols)`` whose feature says the largest charge.
        given: Fields that the generator is given; the pixel detector has none.
        stride: Rows and columns are padded to a multiple of it.
        noise: Width of the uniform noise in training, in units of the logarithmic scale from 0 to
            1.
    """

    def __init__(
        self, spec: Spec, given: Sequence[Field] = (), stride: int = 1, noise: float = NOISE
    ) -> None:
        super().__init__(given)
        if spec.kind != "image" or not spec.features or spec.features[0].high is None:
            raise IncompatibleError(
                f"pixel charges need images with a largest charge, {spec.name} is {spec.kind!r}"
            )
        self.sensors, rows, cols = spec.shape
        self.padding = CentredPadding((rows, cols), stride)
        self.scale = LogCharge(spec.features[0].high, spec.threshold)
        self.noise = noise

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a latent image."""
        return self.padding.padded

    def fit_statistics(self, batches: Batches) -> None:
        """Everything but the ranges of conditions is known from the spec."""

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Latent images, with noise in training mode."""
        y = self.scale(self.padding(batch.x))
        if self.training and self.noise:
            y = y + 2 * self.noise * draws.uniform(y.shape, y, generator)
        return Latent({"image": y}, self.condition(batch.conditions(self.conditions.names)))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Whole charges [ADU]."""
        return Batch(self.scale.inverse(self.padding.inverse(latent.x["image"])), cond.values)
