"""What both distances of arXiv:2211.10295 have in common: scaled features and events that are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from simulacra.metrics.engine.score import NotRun

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
EVENTS_PER_FEATURE = 5
"""Events per feature in the smaller sample from which a floor can be scaled to other sizes."""
OVERFLOW = "too far from the truth to be computed: a feature overflows"


def scaled(reference: Tensor, generated: Tensor, normalise: bool) -> tuple[Array, Array]:
    """Both samples over the largest absolute value of each feature in the reference.

    Raises:
        NotRun: If features are not finite.
    """
    real, fake = (x.detach().cpu().double().numpy() for x in (reference, generated))
    lost = sum(int((~np.isfinite(x)).any(1).sum()) for x in (real, fake))
    if lost:
        raise NotRun(f"{lost} events have features that are not finite")
    if not normalise:
        return real, fake
    scale = np.abs(real).max(0)
    scale[scale == 0] = 1
    with np.errstate(over="ignore"):
        return real / scale, fake / scale


def draw(rng: np.random.Generator, events: int, size: int, shares: Array | None) -> Counts:
    """How often each event is drawn: sums over draws are sums over events with these weights."""
    return np.bincount(rng.choice(events, size=size, p=shares), minlength=events)
