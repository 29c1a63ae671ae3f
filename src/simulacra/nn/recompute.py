"""Blocks whose inner values are computed a second time on the way back instead of being kept.

A network that is a chain of such blocks keeps what passes between them alone, for the price of a second
forward pass in training; losses and gradients are the same. What counts how often it is called, such as the
running statistics of a normalisation, asks :func:`recomputing` and leaves the second pass out.

Reference: Chen et al. 2016, arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

_second: ContextVar[bool] = ContextVar("second", default=False)


def recomputing() -> bool:
    """Whether a block is called for the second time, on the way back."""
    return _second.get()


class Block(nn.Module):
    """What is recomputed as a whole: a network's repeated part derives from it.

    It is called with its arguments by position, and must not count how often but for :func:`recomputing`.
    """

    recompute: bool = False

    def __call__(self, *inputs: Any) -> Any:
        """As any module; see the module's docstring."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(
                super().__call__, *inputs, use_reentrant=False, context_fn=_both_passes
            )
        return super().__call__(*inputs)


def recompute_blocks(net: nn.Module) -> int:
    """Recompute every block of a network from now on; returns their number."""
    blocks = [part for part in net.modules() if isinstance(part, Block)]
    for block in blocks:
        block.recompute = True
    return len(blocks)


def _both_passes() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _second_pass()


@contextmanager
def _second_pass() -> Iterator[None]:
    token = _second.set(True)
    try:
        yield
    finally:
        _second.reset(token)
