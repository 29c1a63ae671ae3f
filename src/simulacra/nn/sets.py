r"""Blocks for sets of points with a mask: padded points never reach a real one.

A set of ``N`` points is ``(B, N, H)`` with weights ``(B, 1, N)`` that are 1 for real and 0 for
padded points. A linear layer that all points share, and that also sees a context of its event, is
split exactly: :math:`W [x_i, c] + b = W_x x_i + (W_c c + b)`, so that the context's part is
computed once per event.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn.derived import Derived


class WeightNormLinear(nn.Module):
    r"""Linear layer of a value and a context, :math:`y = W [x, c] + b` with
    :math:`W_i = g_i v_i / |v_i|`.

    ``x`` is ``(B, I)`` or ``(B, N, I)`` and ``c`` is ``(B, C)``, the same for all ``N`` points of
    an event.

    Args:
        inputs: ``I``.
        context: ``C``, may be 0.
        outputs: ``O``.

    Reference: Salimans and Kingma 2016, arXiv:1602.07868.
    """

    def __init__(self, inputs: int, context: int, outputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(outputs, inputs + context))
        self.bias = nn.Parameter(torch.empty(outputs))
        bound = 1 / math.sqrt(inputs + context)
        nn.init.uniform_(self.direction, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        self.length = nn.Parameter(self.direction.detach().norm(dim=1, keepdim=True))
        self.weight: Derived[tuple[Tensor, Tensor]] = Derived(partial(_normed, inputs))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """``(B, [N,] I)`` and ``(B, C)`` to ``(B, [N,] O)``."""
        return split_linear(x, context, *self.weight(self.direction, self.length), self.bias)


def _normed(inputs: int, direction: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``(O, I)`` and ``(O, C)`` of which the rows together have the given lengths ``(O, 1)``."""
    weight = direction * (length / direction.norm(dim=1, keepdim=True))
    return weight[:, :inputs], weight[:, inputs:]


class SplitLinear(nn.Module):
    """The same without weight normalisation, :math:`y = W [x, c] + b`.

    Args:
        inputs: ``I``.
        context: ``C``, may be 0.
        outputs: ``O``.
    """

    def __init__(self, inputs: int, context: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs + context, outputs)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """``(B, [N,] I)`` and ``(B, C)`` to ``(B, [N,] O)``."""
        weight, inputs = self.linear.weight, x.shape[-1]
        return split_linear(x, context, weight[:, :inputs], weight[:, inputs:], self.linear.bias)


def split_linear(x: Tensor, context: Tensor, weight: Tensor, steer: Tensor, bias: Tensor) -> Tensor:
    """``(B, [N,] I)`` and ``(B, C)`` with weights ``(O, I)`` and ``(O, C)`` to ``(B, [N,] O)``."""
    shift = F.linear(context, steer, bias)  # (B, O)
    if x.ndim == 2:
        return torch.addmm(shift, x, weight.T)
    return F.linear(x, weight).add_(shift[:, None])  # in place on the fresh product: memory-bound


def pool(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Mean and scaled sum over real points: ``(B, N, H)`` with weights ``(B, 1, N)`` to
    ``(B, 2 H)``.

    An event with no real point has mean 0.
    """
    return pooled(x, pooling(weight, scale))


def pooling(weight: Tensor, scale: float) -> Tensor:
    """How much each point counts in mean and scaled sum: ``(B, 1, N)`` to ``(B, 2, N)``, for all pools of
    points with one mask.
    """
    mean = weight / weight.sum(-1, keepdim=True).clamp_min(1)
    return torch.cat([mean, scale * weight], dim=1)


def pooled(x: Tensor, pooling: Tensor) -> Tensor:
    """Mean and scaled sum ``(B, 2 H)`` of ``(B, N, H)``, see :func:`pooling`."""
    return torch.bmm(pooling, x).flatten(1)


def trim(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move real points to the front, in their order, and cut what no event of the batch needs.

    Args:
        x: Points ``(B, N, F)``.
        mask: Real points, bool ``(B, N)``.

    Returns:
        Points ``(B, M, F)`` and mask ``(B, M)``, where ``M`` is the largest number of real points,
        at least 1.
    """
    longest = max(int(mask.sum(1).max()), 1)
    if longest == mask.shape[1]:
        return x, mask
    order = torch.argsort(mask, dim=1, descending=True, stable=True)[:, :longest]
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1])), mask.gather(1, order)
