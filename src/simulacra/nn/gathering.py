"""Buffers in which a network gathers something while it is trained, such as running means.

Processes that train one network have to agree on these in every step; all other buffers stay as they are.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrizations import _SpectralNorm


class Gathering(nn.Module):
    """A part of a network all of whose own buffers change in training; declared by deriving from it."""


KINDS = (Gathering, _NormBase, _SpectralNorm)


def gathered(module: nn.Module) -> set[str]:
    """Names of the buffers of a module that change in training."""
    return {
        f"{place}.{name}".lstrip(".")
        for place, part in module.named_modules()
        if isinstance(part, KINDS)
        for name in part._buffers
    }
