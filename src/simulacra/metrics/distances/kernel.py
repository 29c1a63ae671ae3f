"""Kernel physics distance; see :mod:`simulacra.metrics.distances.frechet`, which explains both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from simulacra.metrics.distances.drawn import (
    EVENTS_PER_FEATURE,
    OVERFLOW,
    Array,
    Counts,
    draw,
    drawn,
    scaled,
)
from simulacra.metrics.distances.jackknife import block_count, replicas, variance
from simulacra.metrics.engine.score import Figure
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weights, probabilities

SPREAD = (16.275, 83.725)
"""Percentiles of KPD's batches; half their distance is the published error."""
MEDIAN = math.sqrt(math.pi / 2)
"""Error of a median over that of a mean."""
KERNEL_EVENTS = 10_000
"""Events of each sample behind KPD's jackknife, at most."""
POWER = 4
"""Of KPD's kernel."""
BLOCK = 512
"""Rows of a kernel matrix that are in memory at once."""


def kpd(
    reference: Tensor,
    generated: Tensor,
    *,
    batches: int = 10,
    batch_size: int = 5000,
    normalise: bool = True,
    seed: int = 42,
    weights: Weights = UNWEIGHTED,
) -> Figure:
    """Kernel physics distance: median over batches.

    With fewer events than ``batch_size`` the draws repeat events: pairs of copies then lift the two
    terms within a sample, and the truth scores above 0 by about the kernel's spread over the events.

    Args:
        reference: Features of the truth ``(N, F)``; they set the scale.
        generated: Features of generated events ``(M, F)``.
        batches: Number of batches.
        batch_size: Events drawn from each sample per batch.
        normalise: Whether to scale the features.
        seed: Seed of the first batch; each further one adds 1000.
        weights: Weights above 0 of the true and of the generated events, which are drawn in proportion.

    Returns:
        Median and its error, with half of the central 67.45 % range of the batches as ``batch_error``.

    Raises:
        NotRun: If features are not finite.
    """
    real, fake = scaled(reference, generated, normalise)
    samples = list(zip((real, fake), map(probabilities, weights), strict=True))
    events = [(x, p, np.arange(len(x))) for x, p in samples]
    values = []
    with np.errstate(over="ignore", invalid="ignore"):
        for number in range(batches):
            rng = np.random.default_rng(seed + 1000 * number)
            chosen = [(x, draw(rng, len(x), batch_size, p)) for x, p in samples]
            values.append(_mmd(*chosen[0], *chosen[1]))
        if not np.isfinite(values).all():
            return Figure(math.inf, note=OVERFLOW)
        low, high = np.percentile(values, SPREAD)
        spread = float(high - low) / 2
        error = math.hypot(MEDIAN * spread / math.sqrt(batches), kernel_error(events, POWER))
    return Figure(
        float(np.median(values)),
        error,
        power=1.0,
        least=EVENTS_PER_FEATURE * real.shape[1],
        details={"batch_error": spread},
    )


def kernel_error(
    samples: Sequence[tuple[Array, Array | None, NDArray[np.int64]]], power: int
) -> float:
    """Error of the squared MMD between two samples with the kernel ``(x . y / F + 1) ** power``.

    By the jackknife; of many rows every k-th, where the error is that of the sample of which more is left.

    Args:
        samples: Features ``(n, F)``, shares of the rows in the sum of weights or None, and the event of each
            row, rising from 0; events are what blocks are made of.
        power: Of the kernel.
    """
    count = block_count(*(int(owner[-1]) + 1 for _, _, owner in samples))
    steps = [-(-len(x) // KERNEL_EVENTS) for x, _, _ in samples]
    parts = []
    for (x, p, owner), step in zip(samples, steps, strict=True):
        rows, block = x[::step], owner[::step] % count
        weight = np.ones(len(rows)) if p is None else p[::step] * len(p)
        parts.append((rows, weight[:, None] * np.eye(count)[block]))
    real, fake = parts
    kept = replicas(count)
    n, m = (kept @ weight.sum(0) for _, weight in parts)
    first, second, cross = (
        np.einsum("rb,bc,rc->r", kept, _kernel_blocks(*pair[0], *pair[1], power), kept)
        for pair in ((real, real), (fake, fake), (real, fake))
    )
    return variance(first / n**2 + second / m**2 - 2 * cross / (n * m), count).error(min(steps))


def _kernel_blocks(x: Array, owner: Array, y: Array, other: Array, power: int) -> Array:
    """Sums of the kernel over pairs of blocks ``(B, B)`` with weights of events in blocks ``(n, B)``."""
    total = np.zeros((owner.shape[1], other.shape[1]))
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        total += owner[rows].T @ ((x[rows] @ y.T / x.shape[1] + 1) ** power @ other)
    return total


def _mmd(real: Array, real_counts: Counts, fake: Array, fake_counts: Counts) -> float:
    """Unbiased squared MMD of drawn events; a draw is not paired with itself, but with its copies."""
    x, y = drawn(real, real_counts), drawn(fake, fake_counts)
    n, m = x[1].sum(), y[1].sum()
    within = [
        (
            _kernel_sum(*z, *z, symmetric=True)
            - z[1] @ _power(np.square(z[0]).sum(1) / z[0].shape[1])
        )
        for z in (x, y)
    ]
    cross = _kernel_sum(*x, *y, symmetric=False)
    return float(within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * cross / (n * m))


def _kernel_sum(x: Array, u: Array, y: Array, v: Array, symmetric: bool) -> float:
    """Sum of ``u_i v_j k(x_i, y_j)``; of a symmetric matrix the upper half is computed and counted twice."""
    total = 0.0
    for start in range(0, len(x), BLOCK):
        stop = min(start + BLOCK, len(x))
        first = start if symmetric else 0
        weight = v[first:].copy()
        if symmetric:
            weight[stop - start :] *= 2
        kernel = x[start:stop] @ y[first:].T
        kernel /= x.shape[1]
        total += float(u[start:stop] @ (_power(kernel) @ weight))
    return total


def _power(products: Array) -> Array:
    """``(s + 1)^4`` in place."""
    products += 1
    np.square(products, out=products)
    return np.square(products, out=products)
