r"""A function of one number that rises, whatever else it is given.

.. math:: g(z | c) = a(c)\, z + b(c) + \sum_j v_j(c) \tanh(k_j z + t_j(c)), \qquad a, v_j, k_j > 0,

Positive numbers are the softplus of free ones, so that :math:`\partial g / \partial z > 0` by construction,
and :math:`a > 0` keeps it rising far from where it was trained. It starts close to the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

START = 0.01
"""Each amplitude before training."""
REACH = 3.0
"""Half width of the range over which the steps are spread at the start."""


class Monotone(nn.Module):
    """See the module's docstring.

    Args:
        context: Width of the context, 0 for none.
        steps: Number of hyperbolic tangents.
        steering: Widths of the network of the context.
    """

    def __init__(self, context: int, steps: Count, steering: Sequence[Count]) -> None:
        super().__init__()
        self.steps = steps
        numbers = 2 + 2 * steps
        self.steer = MLP(context, numbers, steering, zero_init=True) if context else None
        start = torch.cat(
            [
                torch.tensor([_raw(1.0), 0.0]),
                torch.full((steps,), _raw(START)),
                torch.linspace(-REACH, REACH, steps),
            ]
        )
        self.free = nn.Parameter(start)
        self.rise = nn.Parameter(torch.full((steps,), _raw(1.0)))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Values ``(B,)`` at ``z`` ``(B,)`` under contexts ``(B, C)``, or none."""
        free = self.free.expand(len(z), -1)
        if self.steer is not None:
            free = free + self.steer(context)
        ends, height, place = free.split([2, self.steps, self.steps], 1)
        steps = softplus(height) * torch.tanh(softplus(self.rise) * z[:, None] + place)
        return softplus(ends[:, 0]) * z + ends[:, 1] + steps.sum(1)


def _raw(value: float) -> float:
    """Inverse of softplus."""
    return math.log(math.expm1(value))
