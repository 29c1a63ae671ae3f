r"""The last layer of a network that steers a map of each feature by several numbers.

Numbers stand first, so that each is one contiguous slab ``(B, D)``:
:math:`y_{nbd} = b_{nd} + \sum_h x_{bh} W_{nhd}`. One row reads every weight once, which goes at the speed of
memory only where a row of the weights is one of all numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def slabs(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``(B, H)`` with weights ``(N, H, D)`` and biases ``(N, 1, D)`` to ``(N, B, D)``."""
    rows = weight.permute(1, 0, 2)  # (H, N, D)
    if rows.is_contiguous() and len(hidden) == 1:  # in this order: a graph is of any batch
        flat = torch.addmm(bias.view(1, -1), hidden, rows.flatten(1))
        return flat.view(bias.shape)
    return torch.baddbmm(bias, hidden.expand(len(weight), -1, -1), weight)


def in_rows(weight: Tensor) -> Tensor:
    """The same weights ``(N, H, D)``, laid out in memory for one row."""
    return weight.permute(1, 0, 2).contiguous().permute(1, 0, 2)
