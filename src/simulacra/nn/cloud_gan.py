"""What a generator and a critic of point clouds are, and what all of them use.

A generator draws its own noise, masked, because networks differ in what they need: a vector per point, and
some of them one more per event.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from simulacra.core import draws


class CloudGenerator(nn.Module, ABC):
    """Noise to points."""

    @abstractmethod
    def noise(self, mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Noise for events with masks ``(B, N)``; the first axis of each tensor is that of the events."""

    @abstractmethod
    def forward(self, noise: tuple[Tensor, ...], mask: Tensor, context: Tensor | None) -> Tensor:
        """Points ``(B, N, F)``, exactly 0 where padded."""


class CloudCritic(nn.Module, ABC):
    """Points to a score."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        """Scores ``(B, 1)`` of points ``(B, N, F)``, whatever padded points hold."""


class Bounded(nn.Module):
    r"""Smooth bound, :math:`y = b \tanh(x / b)`; nearly the identity for :math:`|x| \ll b`.

    Args:
        bound: ``b``.
    """

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.bound * torch.tanh(x / self.bound)


def point_noise(mask: Tensor, width: int, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise ``(B, N, W)`` for masks ``(B, N)``, exactly 0 where padded."""
    return draws.normal((*mask.shape, width), mask, generator) * mask[..., None]


def event_noise(mask: Tensor, width: int, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise ``(B, W)`` for masks ``(B, N)``."""
    return draws.normal((mask.shape[0], width), mask, generator)


def weights(mask: Tensor, like: Tensor) -> Tensor:
    """Weights ``(B, 1, N)`` of a mask, of the type of ``like``."""
    return mask.to(like.dtype)[:, None]


def filled(context: Tensor | None, like: Tensor) -> Tensor:
    """A context ``(B, C)``, of width 0 where there is none."""
    return like.new_zeros(like.shape[0], 0) if context is None else context
