r"""Network whose output for feature :math:`i` sees the features before :math:`i` and a context only (MADE).

Every hidden unit has a degree :math:`m`, the number of features that it sees: features :math:`j < m`, and
units of degree at most :math:`m` one layer below. The outputs of feature :math:`i` see units of degree at
most :math:`i`. Units stand in the order of their degrees, so that what the first :math:`i` features determine
is a leading slice of every layer.

Reference: Germain et al., arXiv:1502.03509, equations 8 to 11; with a context, arXiv:1705.07057.

Note:
    Degrees are spread evenly over all features also in layers narrower than their number, and with a context
    an eighth of the units has degree 0, so that it steers the first features too (the usual degrees ``1 .. D
    - 1`` leave the first feature without it).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn.derived import Derived
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.slabs import in_rows, slabs

SEEN = 1e4  # larger inputs look like this one, so that no finite input overflows


def degrees(width: int, features: int, context: int) -> list[int]:
    """Degrees of a layer's units, ascending."""
    free = max(1, width // 8) if context > 0 else 0
    rest = width - free
    return (
        [0] * free + [1 + k * (features - 1) // rest for k in range(rest)]
        if features > 1
        else [0] * width
    )


class MaskedLinear(nn.Linear):
    """Linear layer of which masked weights count as zero.

    Args:
        mask: Whether output ``a`` sees input ``b``, ``(outputs, inputs)``.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)
        self.seen = Derived(torch.mul)
        with torch.no_grad():  # as if the unseen inputs were not there
            self.weight.mul_((mask.shape[1] / mask.sum(1, keepdim=True).clamp(min=1)).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs)`` to ``(B, outputs)``."""
        return F.linear(x, self.seen(self.weight, constants=(self.mask,)), self.bias)


class MaskedNet(nn.Module):
    """See the module's docstring; the last layer starts at zero.

    Args:
        features: ``D``.
        context: Width of the context, 0 for none.
        numbers: Outputs for each feature.
        hidden: Widths of the hidden layers.
        activation: Makes the activation.
        dropout: Probability to drop a hidden unit while training.
    """

    mask: Tensor

    def __init__(
        self,
        features: int,
        context: int,
        numbers: int,
        hidden: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("a masked network needs at least one hidden layer")
        self.features = features
        unit = [degrees(width, features, context) for width in hidden]
        self.ready = [[bisect_right(layer, i) for i in range(features)] for layer in unit]
        """Per hidden layer, how many units the features before ``i`` determine."""
        rows = [torch.tensor(layer) for layer in unit]
        inputs = torch.arange(features)
        masks = [rows[0][:, None] > inputs, *(b[:, None] >= a for a, b in pairwise(rows))]
        self.layers = nn.ModuleList(MaskedLinear(mask.float()) for mask in masks)
        self.context = nn.Linear(context, hidden[0], bias=False) if context > 0 else None
        self.activation = activation()
        self.dropout = RandomDrop(dropout)
        # numbers first, so that each is one contiguous slab (B, D)
        self.weight = nn.Parameter(torch.zeros(numbers, features, hidden[-1]))
        self.bias = nn.Parameter(torch.zeros(numbers, 1, features))
        self.register_buffer("mask", (inputs[:, None] >= rows[-1]).float(), persistent=False)
        self.seen = Derived(_masked, lay=in_rows)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``x`` ``(B, D)`` and ``context`` ``(B, C)`` to ``(numbers, B, D)``."""
        hidden, shift = x.clamp(-SEEN, SEEN), self.shift(context)
        for layer in self.linears():
            hidden = layer(hidden) if shift is None else layer(hidden) + shift
            hidden, shift = self.dropout(self.activation(hidden)), None
        return slabs(hidden, self.seen(self.weight, constants=(self.mask,)), self.bias)

    def shift(self, context: Tensor | None) -> Tensor | None:
        """What a context ``(B, C)`` adds to the units of the first layer, ``(B, H)``; None without one."""
        if (self.context is None) != (context is None):
            raise ValueError(
                "a masked network takes a context if, and only if, it was made for one"
            )
        return None if self.context is None else self.context(context)

    def linears(self) -> list[MaskedLinear]:
        """The hidden layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, MaskedLinear)]


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    """Weights ``(numbers, D, H)``, of which masked ones count as zero, as ``(numbers, H, D)``."""
    return (weight * mask).transpose(1, 2)
