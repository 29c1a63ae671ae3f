"""Activations that a configuration can name: it may call what is simulacra's own, and nothing else."""

from __future__ import annotations

from torch import nn

from simulacra.core.constructors import constructor


@constructor
def silu() -> nn.Module:
    """``x sigmoid(x)``."""
    return nn.SiLU()


@constructor
def leaky_relu() -> nn.Module:
    """``x``, below zero a hundredth of it."""
    return nn.LeakyReLU()
