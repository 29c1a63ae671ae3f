r"""Stacks of images of which it is known what sensor they belong to.

As :class:`~simulacra.transforms.image.ImageScaling`, with two things that are remembered of each sensor from
the events of the fit: its mean occupancy :math:`o_s`, a number that physics knows of it (PE-GAN,
arXiv:2303.00693), and mean and width of the statistics of its images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import Field, Spec
from simulacra.core.ranges import Count, NotNegative
from simulacra.transforms.base import Batches
from simulacra.transforms.image import ImageScaling, moments


class SensorScaling(ImageScaling):
    """See the module's docstring.

    Args:
        spec: See :class:`ImageScaling`, as all.
        given: Fields that the generator is given.
        stride: Rows and columns are padded to a multiple of it.
        noise: Width of the uniform noise in training.
    """

    occupancy: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[Field], stride: Count, noise: NotNegative
    ) -> None:
        super().__init__(spec, given, stride, noise)
        self.threshold = max(spec.threshold, torch.finfo(torch.float32).tiny)
        self.register_buffer("occupancy", torch.ones(self.sensors))
        self.mean = self.mean.repeat(self.sensors, 1)  # (S, K)
        self.std = self.std.repeat(self.sensors, 1)

    @property
    def prior(self) -> Tensor:
        """Mean occupancies of the sensors ``(S,)``, over their norm."""
        return functional.normalize(self.occupancy, dim=0)

    def fit_statistics(self, batches: Batches) -> None:
        """Of each sensor: mean occupancy, and mean and width of the statistics of its images."""
        self.scale.fit(torch.stack([batch.x.max() for batch in batches]))
        fired, _ = moments((batch.x >= self.threshold).float().mean((2, 3)) for batch in batches)
        self.occupancy.copy_(fired)
        mean, std = moments(
            self._sums(self.scale(self.padding(batch.x.float())).flatten(0, 1)).view(len(batch), -1)
            for batch in batches
        )
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std))

    def sensor_summary(self, events: Tensor) -> Tensor:
        """Inverse hyperbolic sine of :meth:`summary` of scaled events ``(E, S, rows, cols)``, so that a rare
        charge does not outweigh all else when it is not rare: ``(E, S, K)``.
        """
        return torch.asinh(self.summary(events.flatten(0, 1))).unflatten(0, events.shape[:2])

    def summary(self, images: Tensor) -> Tensor:
        """See :meth:`ImageScaling.summary`; images come sensor by sensor, event after event."""
        sums = self._sums(images).unflatten(0, (-1, self.sensors))
        return ((sums - self.mean) / self.std).flatten(0, 1)
