"""What a critic says of an event: how true it looks and, where it is asked, which class it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

leaky = partial(nn.LeakyReLU, 0.3)
"""The activation of LAGAN and CaloGAN."""


@dataclass(frozen=True)
class Verdict:
    """Of ``B`` events.

    Args:
        score: The higher the more it looks like a true event, ``(B, 1)``.
        label: Logits of the classes ``(B, K)``, or None.
    """

    score: Tensor
    label: Tensor | None = None


class Judge(nn.Module):
    """Features ``(B, inputs)`` to a :class:`Verdict`.

    Args:
        inputs: Features of an event.
        classes: Classes of events, 0 for none.
        hidden: Widths of the layers before the verdict, which need not be any.
    """

    def __init__(self, inputs: int, classes: int, hidden: Sequence[Count]) -> None:
        super().__init__()
        self.net = MLP(inputs, 1 + classes, hidden, leaky)
        self.classes = classes

    def forward(self, features: Tensor) -> Verdict:
        """See the class."""
        out = self.net(features)
        return Verdict(out[:, :1], out[:, 1:] if self.classes else None)
