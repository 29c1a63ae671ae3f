r"""Fourier features: :math:`t \mapsto (\cos \pi k t, \sin \pi k t)_{k = 1 \dots K}`.

On :math:`t \in [0, 1]` the lowest cosine is one-to-one, and the highest frequency, :math:`\pi K`,
bounds how fast a network can change in time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """Features of a number in [0, 1].

    Args:
        frequencies: ``K``, half the number of features.
    """

    frequencies: Tensor

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.width = 2 * frequencies
        self.register_buffer(
            "frequencies", math.pi * torch.arange(1, frequencies + 1), persistent=False
        )

    def forward(self, t: Tensor) -> Tensor:
        """``(*)`` to ``(*, 2 K)``."""
        angle = t[..., None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=-1)
