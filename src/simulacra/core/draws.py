"""Random numbers shaped as asked, on the device and in the type of another tensor.

Everything that is drawn comes from a ``torch.Generator`` that is handed in (None: the global one). Callers
write ``draws.normal(...)``, so that within :func:`given` known numbers stand in the place of all noise.

Given numbers are those of an exported graph, which is unrolled: what is computed then may depend on no
value, so that no loop ends early and no shape but that of the batch is free. Code that saves work by looking
at values asks :func:`unrolled` and does all of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor

from simulacra.core.errors import UserError

Kind = Literal["normal", "uniform"]
"""What numbers are distributed like."""


class Source(ABC):
    """Where numbers come from in place of a generator."""

    @abstractmethod
    def take(self, kind: Kind, shape: Sequence[int]) -> Tensor:
        """The next numbers, real ones of any type and on any device."""


_given: ContextVar[Source | None] = ContextVar("given", default=None)


@contextmanager
def given(source: Source) -> Iterator[None]:
    """Take all numbers from ``source`` for the duration of a block."""
    token = _given.set(source)
    try:
        yield
    finally:
        _given.reset(token)


def unrolled() -> bool:
    """Whether numbers are given, so that nothing may depend on values, see the module's docstring."""
    return _given.get() is not None


def normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal numbers; of torch's default type where ``like`` holds no real numbers."""
    source, dtype = _given.get(), _dtype(like)
    if source is not None:
        return source.take("normal", shape).to(like.device, dtype)
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=dtype)


def uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Numbers from [0, 1); of torch's default type where ``like`` holds no real numbers."""
    source, dtype = _given.get(), _dtype(like)
    if source is not None:
        return source.take("uniform", shape).to(like.device, dtype)
    return torch.rand(tuple(shape), generator=generator, device=like.device, dtype=dtype)


def categorical(n: int, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Columns, int64 ``(n,)``, each as often as its share of the weights of the row.

    It is the first column up to which the share exceeds a uniform number, so that one given number decides.

    Args:
        n: How many.
        weights: Non-negative ``(n, K)``, not all 0 in any row, or ``(1, K)`` for all.
        generator: Source of randomness.
    """
    summed = weights.double().cumsum(1)
    level = uniform((n, 1), summed, generator) * summed[:, -1:]
    rows = level if weights.shape[0] == n else level.T
    return torch.searchsorted(summed, rows, right=True).flatten().clamp_max(weights.shape[1] - 1)


def poisson(rate: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Counts of the given rates, shaped like them; NaN where a rate is.

    Raises:
        UserError: Where numbers are given.
    """
    _refuse("counts")
    unknown = rate.isnan()
    counts = torch.poisson(rate.masked_fill(unknown, 0.0), generator=generator)
    return counts.masked_fill(unknown, torch.nan)


def integers(
    low: int,
    high: int,
    shape: Sequence[int],
    like: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Integers, int64, from ``low`` to ``high - 1``.

    Raises:
        UserError: Where numbers are given.
    """
    _refuse("whole numbers")
    return torch.randint(low, high, tuple(shape), generator=generator, device=like.device)


def permutation(n: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The integers below ``n`` in random order, int64.

    Raises:
        UserError: Where numbers are given.
    """
    _refuse("a random order")
    return torch.randperm(n, generator=generator, device=like.device)


def _refuse(what: str) -> None:
    if unrolled():
        raise UserError(
            f"the sampler draws {what}, which an exported graph cannot take from numbers per event"
        )


def _dtype(like: Tensor) -> torch.dtype:
    return like.dtype if like.is_floating_point() else torch.get_default_dtype()
