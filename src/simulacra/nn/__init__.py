"""Blocks of networks: they know tensors, not data sets."""

from torch import nn

from simulacra.core.constructors import role

role(nn.Module, __name__)
