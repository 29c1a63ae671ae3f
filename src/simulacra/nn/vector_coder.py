"""Encoder and decoder of cells to one vector and back, both fully connected and told the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.core.ranges import Count
from simulacra.nn.coder import Coder


class VectorCoder(Coder):
    """Linear maps, each but the last followed by an activation and a norm over its outputs.

    Args:
        layout: Cells and the width of their context.
        numbers: What the encoder gives for each number of the vector.
        outputs: What the decoder gives.
        width: Numbers of the vector.
        hidden: Widths of the encoder's layers; those of the decoder are the same in reverse order.
        activation: Makes an activation.
    """

    def __init__(
        self,
        layout: Layout,
        numbers: int,
        outputs: int,
        width: Count,
        hidden: Sequence[Count],
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.layout, self.channels = Layout(width, layout.context), width
        # logits of empty cells lie far from 0
        self.entry = nn.LayerNorm(layout.features, elementwise_affine=False)
        cells = layout.features + layout.context
        self.encoder = _stack([cells, *hidden], numbers * width, activation)
        self.decoder = _stack([width + layout.context, *hidden[::-1]], outputs, activation)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`Coder`; ``(B, numbers C, 1)``."""
        return self.encoder(_joined(self.entry(x), context))[..., None]

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`Coder`."""
        return self.decoder(_joined(z[..., 0], context))

    def volume(self, line: Tensor) -> Tensor:
        """See :class:`Coder`."""
        return line[..., None]


def _stack(
    widths: Sequence[int], outputs: int, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation(), nn.LayerNorm(after)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def _joined(x: Tensor, context: Tensor | None) -> Tensor:
    return x if context is None else torch.cat([x, context], dim=1)
