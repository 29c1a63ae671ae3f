"""Blocks whose inner values are computed a second time on the way back instead of being kept.

A network that is a chain of such blocks keeps what passes between them alone, for the price of a second
forward pass in training; losses and gradients are the same.

Reference: Chen et al. 2016, arXiv:1604.06174.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    """What is recomputed as a whole: a network's repeated part derives from it.

    It is called with its arguments by position, and must not count how often.
    """

    recompute: bool = False

    def __call__(self, *inputs: Any) -> Any:
        """As any module; see the module's docstring."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(super().__call__, *inputs, use_reentrant=False)
        return super().__call__(*inputs)


def recompute_blocks(net: nn.Module) -> int:
    """Recompute every block of a network from now on; returns their number."""
    blocks = [part for part in net.modules() if isinstance(part, Block)]
    for block in blocks:
        block.recompute = True
    return len(blocks)
