"""Random numbers shaped as asked, on the device and in the type of another tensor.

Everything that is drawn comes from a ``torch.Generator`` that is handed in (None: the global one). Callers
write ``draws.normal(...)``, so that a test can put known numbers in the place of all noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal numbers; of torch's default type where ``like`` holds no real numbers."""
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=_dtype(like))


def uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Numbers from [0, 1); of torch's default type where ``like`` holds no real numbers."""
    return torch.rand(tuple(shape), generator=generator, device=like.device, dtype=_dtype(like))


def integers(
    low: int,
    high: int,
    shape: Sequence[int],
    like: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Integers, int64, from ``low`` to ``high - 1``."""
    return torch.randint(low, high, tuple(shape), generator=generator, device=like.device)


def permutation(n: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The integers below ``n`` in random order, int64."""
    return torch.randperm(n, generator=generator, device=like.device)


def _dtype(like: Tensor) -> torch.dtype | None:
    return like.dtype if like.is_floating_point() else None
