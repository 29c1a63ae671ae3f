r"""Stacks of images in [-1, 1] for generators that end in tanh.

With a unit :math:`u` and the largest content :math:`q`, images padded with zeros on both sides to a
multiple of the network's stride become :math:`y = 2 \ln(1 + x / u) / \ln(1 + q / u) - 1`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError, draws
from simulacra.core.ranges import Count, NotNegative
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.base import Map
from simulacra.transforms.pxd import CentredPadding, LogCharge


class LogRange(Map):
    """``y = 2 ln(1 + x / unit) / ln(1 + largest / unit) - 1`` with the largest content of the fit.

    Args:
        unit: Content at which the map turns from linear to logarithmic [the data set's unit].
    """

    largest: Tensor

    def __init__(self, unit: float) -> None:
        super().__init__()
        if unit <= 0:
            raise UserError(f"a scale must be positive, got {unit}")
        self.unit = unit
        self.register_buffer("largest", torch.tensor(unit))

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Remember the largest content."""
        self.largest.copy_(x.max().clamp_min(self.unit))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Contents to [-1, 1]."""
        return 2 * torch.log1p(x / self.unit) / torch.log1p(self.largest / self.unit) - 1

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Contents; values beyond [-1, 1] come back as 0 and the largest."""
        return (
            torch.expm1((y.clamp(-1, 1) + 1) / 2 * torch.log1p(self.largest / self.unit))
            * self.unit
        )


LEVELS = tuple(-0.75 + 0.15 * i for i in range(11))
"""Scaled contents, between -1 and 1, at which :meth:`ImageScaling.summary` counts pixels."""
WIDTH = 0.05
"""Softness of the counts."""


class ImageScaling(Transform):
    """Stacks of images in [-1, 1] for generators that end in tanh; one latent stage ``"image"`` ``(B, S,
    H, W)``.

    Images are padded with zeros on both sides to a multiple of ``stride`` and mapped to
    ``y = 2 ln(1 + x / unit) / ln(1 + largest / unit) - 1``. Where the spec's first feature says the
    largest content, the contents are whole numbers, the unit is 1 and the map is
    :class:`~simulacra.transforms.pxd.LogCharge`; else the unit is the spec's threshold and the largest
    content comes from the training events.

    Args:
        spec: Images ``(S, rows, cols)``.
        given: Fields that the generator is given.
        stride: Rows and columns are padded to a multiple of it.
        noise: Width of the uniform noise in training, on the scale of the logarithm from 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[Field], stride: Count, noise: NotNegative
    ) -> None:
        super().__init__(given)
        sensors, rows, cols = spec.shape
        self.sensors = sensors
        self.padding = CentredPadding((rows, cols), stride)
        whole = spec.features[0].high if spec.features else None
        self.scale: Map = (
            LogRange(spec.threshold or 1.0) if whole is None else LogCharge(whole, spec.threshold)
        )
        self.noise = noise
        self.register_buffer("mean", torch.zeros(len(LEVELS) + 2))
        self.register_buffer("std", torch.ones(len(LEVELS) + 2))

    @property
    def summary_width(self) -> int:
        """Columns of :meth:`summary`."""
        return len(LEVELS) + 2

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a latent image."""
        return self.padding.padded

    def fit_statistics(self, batches: Batches) -> None:
        """Largest content, where the spec does not say it."""
        self.scale.fit(torch.stack([batch.x.max() for batch in batches]))
        mean, std = moments(
            self._sums(self.scale(self.padding(batch.x.float())).flatten(0, 1)) for batch in batches
        )
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Scaled images, with noise in training mode."""
        y = self.scale(self.padding(batch.x.float()))
        if self.training and self.noise > 0:
            y = y + 2 * self.noise * draws.uniform(y.shape, y, generator)
        return Latent({"image": y}, self.condition(batch.conditions(self.conditions.names)))

    def summary(self, images: Tensor) -> Tensor:
        """Standardised shares of pixels above a ladder of levels, mean and mean exponential of the scaled
        content.

        Args:
            images: Scaled single images ``(B, rows, cols)``.

        Returns:
            ``(B, K)``, differentiable.
        """
        return (self._sums(images) - self.mean) / self.std

    @staticmethod
    def _sums(images: Tensor) -> Tensor:
        shares = [torch.sigmoid((images - level) / WIDTH).mean((1, 2)) for level in LEVELS]
        return torch.stack(
            [*shares, images.mean((1, 2)), torch.exp(4 * images).mean((1, 2))], dim=1
        )

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Contents in the data set's unit."""
        return Batch(self.scale.inverse(self.padding.inverse(latent.x["image"])), cond.values)


def moments(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``(K,)`` of rows that come in parts ``(n, K)``; constant columns get 1."""
    count, first, second = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for part in parts:
        count += len(part)
        first, second = first + part.double().sum(0), second + part.double().square().sum(0)
    mean = first / max(count, 1)
    std = (second / max(count, 1) - mean.square()).clamp_min(0).sqrt()
    return mean, torch.where(std > 1e-6 * mean.abs(), std, 1.0)
