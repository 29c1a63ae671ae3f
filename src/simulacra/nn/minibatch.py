r"""Minibatch discrimination: what a critic sees of an event beside the other events of its batch.

.. math:: f_b(x_i) = \sum_j \exp\bigl(-\| T_b x_i - T_b x_j \|_1\bigr)

is close to 1 for an event unlike all others and to the size of the batch where all are alike, so that a
generator that has collapsed to few events is seen through. True and generated events must be shown to such a
critic in batches of their own, since a mixed batch says nothing about either.

Reference: Salimans et al., arXiv:1606.03498, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class MinibatchDiscrimination(nn.Module):
    """``(B, inputs)`` to ``(B, kernels)``; an event counts itself.

    Args:
        inputs: Features of an event.
        kernels: Number of ``b``.
        dim: Rows of each ``T_b``.
    """

    def __init__(self, inputs: int, kernels: int, dim: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.map = nn.Linear(inputs, kernels * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        mapped = self.map(x).unflatten(1, (self.kernels, -1)).transpose(0, 1)  # (b, B, dim)
        return torch.exp(-torch.cdist(mapped, mapped, p=1.0)).sum(-1).T


def batch_statistics(net: nn.Module) -> list[str]:
    """Kinds of layers of a network that look at several events of a batch at once."""
    kinds = (_BatchNorm, MinibatchDiscrimination)
    return sorted({type(part).__name__ for part in net.modules() if isinstance(part, kinds)})
