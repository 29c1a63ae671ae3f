r"""Fully connected networks.

A layer is :math:`h' = \phi(W h + b)`; a network may end in a layer of zeros, so that what it steers starts as
the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count, Dropout
from simulacra.nn.dropout import RandomDrop


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        hidden: Widths of the hidden layers.
        activation: Makes the activation, called once per hidden layer.
        dropout: Probability to drop a hidden unit while training.
        zero_init: Whether the last layer starts at exactly zero.
        linear: Makes a layer from the widths of its input and output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: Count,
        hidden: Sequence[Count],
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: Dropout = 0.0,
        zero_init: bool = False,
        linear: Callable[[int, int], nn.Linear] = nn.Linear,
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [linear(a, b), activation()]
            if dropout > 0:
                layers.append(RandomDrop(dropout))
        last = linear(widths[-1], outputs)
        if zero_init:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, inputs)`` to ``(B, outputs)``; a context ``(B, C)`` is concatenated to ``x`` first."""
        return self.layers(x if context is None else torch.cat([x, context], dim=-1))
