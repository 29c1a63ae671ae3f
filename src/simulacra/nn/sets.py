r"""Blocks for sets of points with a mask: padded points never reach a real one.

A set of ``N`` points is ``(B, N, H)`` with weights ``(B, 1, N)`` that are 1 for real and 0 for
padded points. A linear layer that all points share, and that also sees a context of its event, is
split exactly: :math:`W [x_i, c] + b = W_x x_i + (W_c c + b)`, so that the context's part is
computed once per event.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """``(B, [N,] I)`` and ``(B, C)`` to ``(B, [N,] O)``."""
        weight = self.direction * (self.length / self.direction.norm(dim=1, keepdim=True))
        return split_linear(x, context, weight, self.bias)


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
        return split_linear(x, context, self.linear.weight, self.linear.bias)


def split_linear(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``(B, [N,] I)`` and ``(B, C)`` with weights ``(O, I + C)`` to ``(B, [N,] O)``."""
    inputs = x.shape[-1]
    shift = F.linear(context, weight[:, inputs:], bias)  # (B, O)
    if x.ndim == 2:
        return torch.addmm(shift, x, weight[:, :inputs].T)
    return F.linear(x, weight[:, :inputs]).add_(
        shift[:, None]
    )  # in place on the fresh product: memory-bound


def pool(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Mean and scaled sum over real points: ``(B, N, H)`` with weights ``(B, 1, N)`` to
    ``(B, 2 H)``.

    An event with no real point has mean 0.
    """
    total = torch.bmm(weight, x)[:, 0]  # (B, H)
    count = weight.sum(-1).clamp_min(1)  # (B, 1)
    return torch.cat([total / count, scale * total], dim=-1)


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
