r"""Fourier features: :math:`t \mapsto (\cos \pi k t, \sin \pi k t)_{k = 1 \dots K}`.

On :math:`t \in [0, 1]` the lowest cosine is one-to-one, and the highest frequency, :math:`\pi K`,
bounds how fast a network can change in time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.nn.time_features import TimeFeatures


class FourierFeatures(TimeFeatures):
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

    def features(self, t: Tensor) -> Tensor:
        """``(*)`` to ``(*, 2 K)``."""
        angle = t[..., None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class Sinusoids(TimeFeatures):
    r"""Features :math:`(\cos m w_i t, \sin m w_i t)` of a number in [0, 1], with
    :math:`w_i = 10^{-4 i / K}` and a scale ``m``, without which they hardly change.

    Args:
        width: Number of features, ``2 K``.
        scale: ``m``, the number of steps of a discrete chain.

    Reference: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; Ho et al. 2020, arXiv:2006.11239.
    """

    frequencies: Tensor

    def __init__(self, width: int, scale: float = 1000.0) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"sinusoids come in pairs, {width} is no even number of them")
        place = torch.arange(width // 2) / (width // 2)
        self.width = width
        self.register_buffer("frequencies", scale * 10.0 ** (-4 * place), persistent=False)

    def features(self, t: Tensor) -> Tensor:
        """``(*)`` to ``(*, width)``."""
        angle = t[..., None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=-1)
