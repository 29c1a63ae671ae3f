"""A network of single numbers at a time of a diffusion, which vectors tell apart."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.mlp import MLP


class NumberNet(nn.Module):
    """What is predicted of single numbers ``(R, 1)`` at times ``(R,)``, given vectors ``(R, W)``.

    Args:
        context: ``W``.
        hidden: Width of its layers.
        layers: Number of linear layers, the last one included.
        frequencies: Fourier frequencies of the time.
    """

    def __init__(self, context: int, hidden: Count, layers: Count, frequencies: Count) -> None:
        super().__init__()
        self.time = FourierFeatures(frequencies)
        within = partial(_normalised, hidden)
        self.net = MLP(1 + self.time.width + context, 1, [hidden] * (layers - 1), within)

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """See the class; shaped as ``x``."""
        found: Tensor = self.net(torch.cat([x, self.time(t), context], dim=1))
        return found


def _normalised(width: int) -> nn.Module:
    return nn.Sequential(nn.SiLU(), nn.LayerNorm(width))
