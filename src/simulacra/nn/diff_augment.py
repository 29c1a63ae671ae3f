r"""Differentiable changes of images that both a critic's true and its generated images go through.

A critic of few events soon knows them by heart; one that sees them brighter, shifted or with a hole does not,
and as generated images go through the same changes, and gradients through the changes, nothing of them is
learned. Images lie in [-1, 1], with -1 for an empty pixel, which is what shifts and holes leave behind.

Reference: Zhao et al., arXiv:2006.10738.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from simulacra.core import draws
from simulacra.core.constructors import role
from simulacra.core.ranges import NotNegative, Share

EMPTY = -1.0


@role
class Augment(ABC):
    """A random change of each image."""

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Changed images of ``(B, H, W)``, each by numbers of its own."""


class Colour(Augment):
    """Brightness and contrast.

    Args:
        brightness: Largest change of all pixels is half of it.
        contrast: Largest relative change of the distance from the image's mean.
    """

    def __init__(self, brightness: NotNegative, contrast: Share) -> None:
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Augment`."""
        shift, factor = (
            draws.uniform((len(x), 1, 1), x, generator) - 0.5,
            2 * draws.uniform((len(x), 1, 1), x, generator) - 1,
        )
        x = x + self.brightness * shift
        mean = x.mean((1, 2), keepdim=True)
        return mean + (1 + self.contrast * factor) * (x - mean)


class Translation(Augment):
    """A shift by whole pixels.

    Args:
        share: Largest shift along each axis, as a share of the image.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Augment`."""
        places, inside = [], torch.ones_like(x, dtype=torch.bool)
        for axis in (1, 2):
            size, most = x.shape[axis], round(self.share * x.shape[axis])
            shift = draws.integers(-most, most + 1, (len(x), 1), x, generator)
            place = torch.arange(size, device=x.device) + shift  # (B, size)
            inside &= ((place >= 0) & (place < size)).unsqueeze(3 - axis)
            places.append(place.clamp(0, size - 1).unsqueeze(3 - axis))
        batch = torch.arange(len(x), device=x.device)[:, None, None]
        return torch.where(inside, x[batch, places[0], places[1]], EMPTY)


class Cutout(Augment):
    """A rectangle that is emptied; a part of it may lie outside of the image.

    Args:
        share: Its sides, as a share of those of the image.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Augment`."""
        hole = torch.ones_like(x, dtype=torch.bool)
        for axis in (1, 2):
            size = x.shape[axis]
            side = round(self.share * size)
            middle = draws.integers(0, size + 1 - side % 2, (len(x), 1), x, generator)
            start = middle - side // 2
            place = torch.arange(size, device=x.device)
            hole &= ((place >= start) & (place < start + side)).unsqueeze(3 - axis)
        return torch.where(hole, EMPTY, x)
