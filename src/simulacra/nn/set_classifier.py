"""Logit of a cloud: an encoder to which the order of points is nothing, then a network of what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP


class SetClassifier(nn.Module):
    """See the module's docstring.

    Args:
        features: ``F``, columns of a point.
        context: ``C``, numbers of the event that the encoder and the last network are given, may be 0.
        encoder: Makes the encoder from ``F``, ``C`` and ``width``, which gives two rows of ``width`` numbers.
        width: Half of the numbers that it says of a cloud.
        hidden: Widths of the last network.
    """

    def __init__(
        self,
        features: int,
        context: int,
        encoder: Callable[[int, int, int], nn.Module],
        width: Count,
        hidden: Sequence[Count],
    ) -> None:
        super().__init__()
        self.encoder = encoder(features, context, width)
        self.head = MLP(2 * width + context, 1, hidden)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """Logits ``(B, 1)`` of points ``(B, N, F)`` with mask ``(B, N)`` and numbers ``(B, C)``."""
        said = torch.cat([*self.encoder(x, mask, context), context], 1)
        found: Tensor = self.head(said)
        return found
