r"""Networks that are convex in one of their inputs, whatever the other is.

.. math:: \varphi(x | c) = \tfrac12 \sum_r e^{q_r(u)} (Q x)_r^2 + b(u) \cdot x + w(u) \cdot h_L, \qquad
          h_{l+1} = \sigma(W_l h_l + A_l x + B_l u),

where :math:`u` is a network of the context :math:`c`. With a convex rising :math:`\sigma` (softplus) and
:math:`W_l, w \ge 0`, which are softplus of free parameters, every :math:`h_l` and :math:`\varphi` are convex
in ``x``. So the gradient :math:`\nabla_x \varphi` is a monotone map; it starts close to the identity.

Reference: Amos, Xu, Kolter, arXiv:1609.07152, section 3, for the partially input-convex form; the quadratic
term is our own, so that linear maps need no units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

START = 0.01
"""Sum of the weights of the last layer before training."""


class InputConvex(nn.Module):
    """See the module's docstring.

    Args:
        inputs: ``D``, the numbers in which it is convex.
        context: Width of the context, 0 for none.
        hidden: Widths of the convex layers.
        steering: Widths of the network of the context; its last is that of ``u``.
    """

    def __init__(
        self, inputs: int, context: int, hidden: Sequence[Count], steering: Sequence[Count]
    ) -> None:
        super().__init__()
        self.steer = MLP(context, steering[-1], steering[:-1]) if context else None
        width = steering[-1] if context else 0
        self.inputs = inputs
        self.layers = nn.ModuleList(nn.Linear(inputs + width, size) for size in hidden)
        self.positive = nn.ParameterList(
            torch.full((after, before), _raw(1 / before)) for before, after in pairwise(hidden)
        )
        self.axes = nn.Parameter(torch.eye(inputs))
        sizes = {"last": hidden[-1], "stretch": inputs, "shift": inputs}
        start = {"last": _raw(START / hidden[-1]), "stretch": 0.0, "shift": 0.0}
        self.free = nn.ParameterDict(
            {name: torch.full((size,), start[name]) for name, size in sizes.items()}
        )
        self.heads = nn.ModuleDict(
            {name: _zero(nn.Linear(width, size, bias=False)) for name, size in sizes.items()}
            if context
            else {}
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Values ``(B,)`` at ``x`` ``(B, D)`` under contexts ``(B, C)``, or none."""
        u = None if self.steer is None else self.steer(context)
        seen = x if u is None else torch.cat([x, u], 1)
        h = softplus(self.layers[0](seen))
        for layer, weight in zip(list(self.layers)[1:], self.positive, strict=True):
            h = softplus(linear(h, softplus(weight)) + layer(seen))
        last, stretch, shift = (self._steered(name, u) for name in ("last", "stretch", "shift"))
        square = (stretch.exp() * linear(x, self.axes).square()).sum(1)
        return 0.5 * square + (shift * x).sum(1) + (softplus(last) * h).sum(1)

    def gradient(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r""":math:`\nabla_x \varphi`, ``(B, D)``, itself differentiable where gradients are asked for."""
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            at = x.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(self(at, context).sum(), at, create_graph=differentiable)
        return found

    def _steered(self, name: str, u: Tensor | None) -> Tensor:
        free = self.free[name]
        return free if u is None else free + self.heads[name](u)


def _raw(value: float) -> float:
    """Inverse of softplus."""
    return math.log(math.expm1(value))


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    return layer
