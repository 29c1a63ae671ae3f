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
    draw,
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
FAR = 1e4
"""Largest product of two features up to which a kernel is computed in float32."""
TILE = 256
"""Rows and columns of a kernel matrix that are in memory at once."""
Weighted = tuple[Array, Array]
"""Features of events ``(n, F)`` and some sets of weights of them ``(n, A)``."""


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
    chosen = []
    for number in range(batches):
        rng = np.random.default_rng(seed + 1000 * number)
        chosen.append([draw(rng, len(x), batch_size, p) for x, p in samples])
    with np.errstate(over="ignore", invalid="ignore"):
        values = _distances(
            (real, fake), [np.array(own, float) for own in zip(*chosen, strict=True)]
        )
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
    pairs: list[tuple[Weighted, Weighted | None]] = [(real, None), (fake, None), (real, fake)]
    sums = [kernel_sums(first, second, power) for first, second in pairs]
    own, other, cross = (np.einsum("rb,bc,rc->r", kept, item, kept) for item in sums)
    return variance(own / n**2 + other / m**2 - 2 * cross / (n * m), count).error(min(steps))


def _distances(samples: tuple[Array, Array], counts: Sequence[Array]) -> list[float]:
    """Unbiased squared MMDs of batches ``(R,)``; a draw is not paired with itself, but with its copies.

    Args:
        samples: Features of true and generated events ``(N, F)`` and ``(M, F)``.
        counts: How often each batch holds each event ``(R, N)`` and ``(R, M)``.
    """
    held = [own.any(0) for own in counts]
    alone = sum(np.count_nonzero(own > 0, axis=1).astype(float) ** 2 for own in counts).sum()
    if sum(float(own.sum()) ** 2 for own in held) > alone and len(counts[0]) > 1:
        rows = zip(*counts, strict=True)
        return [_distances(samples, [u[None], v[None]])[0] for u, v in rows]
    x, y = (
        (rows[own], number[:, own].T)
        for rows, own, number in zip(samples, held, counts, strict=True)
    )
    n, m = (number.sum(0) for _, number in (x, y))
    own = [
        kernel_sums(z, None, POWER).diagonal()
        - (np.square(z[0]).sum(1) / z[0].shape[1] + 1) ** POWER @ z[1]
        for z in (x, y)
    ]
    cross = kernel_sums(x, y, POWER).diagonal()
    found = own[0] / (n * (n - 1)) + own[1] / (m * (m - 1)) - 2 * cross / (n * m)
    return [float(value) for value in found]


def kernel_sums(first: Weighted, second: Weighted | None, power: int) -> Array:
    """Sums ``(A, B)`` of ``u_ia k(x_i, y_j) v_jb`` with the kernel ``(x . y / F + 1) ** power``.

    In tiles that stay in the processor's cache; without a second sample of the first with itself, where half
    of the tiles will do. A tile is float32 and sums over tiles are float64: rounding is that of numbers near
    1, a billionth of their mean over all pairs, and far below any error of a figure. Where products could
    leave the range of float32, all is float64.
    """
    (x, u), (y, v) = first, first if second is None else second
    far = float(np.abs(x).max(initial=0.0)) * float(np.abs(y).max(initial=0.0))
    kind: type[np.floating] = np.float32 if far < FAR else np.float64
    rows, columns = (x / x.shape[1]).astype(kind), np.ascontiguousarray(y.T, kind)
    narrow = v.astype(kind)
    total, mirrored = np.zeros((2, u.shape[1], v.shape[1]))
    for start in range(0, len(x), TILE):
        part = slice(start, start + TILE)
        sums = np.zeros((2, len(x[part]), v.shape[1]))
        for place in range(start if second is None else 0, len(y), TILE):
            other = slice(place, place + TILE)
            kernel = _raised(rows[part] @ columns[:, other], power)
            sums[int(second is None and place > start)] += kernel @ narrow[other]
        total += u[part].T @ sums[0]
        mirrored += u[part].T @ sums[1]
    return total + mirrored + mirrored.T if second is None else total


def _raised(products: NDArray[np.floating], power: int) -> NDArray[np.floating]:
    """``(s + 1) ** power`` in place."""
    products += 1
    base = products.copy() if power.bit_count() > 1 else products
    for bit in bin(power)[3:]:
        np.square(products, out=products)
        if bit == "1":
            products *= base
    return products
