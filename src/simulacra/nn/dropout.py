r"""Dropout whose masks cost little on a processor.

A number stays with probability :math:`1 - p`, :math:`y = x\, b / (1 - p)` with :math:`b \sim B(1 - p)`.
Torch's own generator of such masks takes up to 15 ns per number on a processor, more than a layer takes for
it. Here a number takes 16 random bits, a fourth of what one draw gives, so that :math:`p` is rounded to a
multiple of :math:`2^{-16}`, and the mean of :math:`y` is that of :math:`x` for the rounded one.

Reference: Srivastava et al. 2014, JMLR 15, 1929.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.nn.groups import recorded

LEVELS = 2**16
"""Of a random number of 16 bits."""


class RandomDrop(nn.Module):
    """See the module's docstring; masks come from torch's global generator, as those of ``nn.Dropout``.

    Args:
        probability: ``p``, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"a probability to drop must be in [0, 1), got {probability}")
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """``(*)`` to the same shape."""
        if not self.training or self.probability == 0:
            return x
        if recorded(x):
            return F.dropout(x, self.probability)
        return x * kept(x, self.probability)

    def extra_repr(self) -> str:
        """The probability."""
        return f"probability={self.probability:g}"


def kept(like: Tensor, probability: float) -> Tensor:
    """What numbers of a tensor on a processor are multiplied with: 0, or the factor of those that stay."""
    dropped = min(round(LEVELS * probability), LEVELS - 1)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64)
    bits = words.random_(torch.iinfo(torch.int64).min, None).view(torch.int16)
    mask = torch.empty(like.shape, dtype=like.dtype)
    torch.ge(bits[: like.numel()].view(like.shape), dropped - LEVELS // 2, out=mask)
    return mask.mul_(LEVELS / (LEVELS - dropped))
