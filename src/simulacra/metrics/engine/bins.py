"""Binning of observables: edges from an axis and the truth, and the bin of each value."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.metrics.engine.weighted import Weight, part, quantiles, worth
from simulacra.physics.base import Axis, even_edges

BLOCK = 2**17
"""Values that are binned at once, so that they stay in the processor's cache."""


def resolve(axis: Axis, truth: Tensor, weight: Weight = None) -> Tensor:
    """Bin edges ``(bins + 1,)``, float64, numpy's to the last bit; ends that the axis leaves open come from
    the finite truth ``(n,)`` with weights ``(n,)`` above 0.

    An open range spans the truth from its 0.1 % to its 99.9 % quantile, widened by a twentieth (in
    logarithmic axes from the smallest to the largest value, as in the CaloChallenge).  Few events
    fill fewer bins: where both ends are open, at most ``2 n^(1/3)`` (Rice's rule, ``n`` the effective
    number of values), at least 10.  If
    the truth holds few whole numbers only, bins are centred on them.
    """
    values, weight = (truth[truth > 0], part(weight, truth > 0)) if axis.log else (truth, weight)
    n = worth(len(values), weight)
    if axis.low is not None and axis.high is not None:
        low, high = axis.low, axis.high
    elif not len(values):
        low, high = (axis.low or (1e-3 if axis.log else 0.0)), 1.0
    elif axis.log:
        found = values.numpy()  # the ends are in the type of the values
        low = found.min() if axis.low is None else axis.low
        high = found.max() if axis.high is None else axis.high
    else:
        whole = _whole(values, axis, weight)
        if whole is not None:
            return whole
        low, high = _quantiles(values, weight)
        margin = (high - low) / 20
        low = low - margin if axis.low is None else axis.low
        high = high + margin if axis.high is None else axis.high
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # a constant observable
        low, high = (low, low * 10) if axis.log else (low - 0.5, low + 0.5)
    return even_edges(low, high, _bins(axis, n), axis.log)


def _bins(axis: Axis, n: float) -> int:
    if axis.low is not None or axis.high is not None:
        return axis.bins
    return min(axis.bins, max(10, round(2 * n ** (1 / 3))))


def _quantiles(values: Tensor, weight: Weight) -> tuple[float, float]:
    if weight is not None:
        low, high = (float(quantiles(ends, [0.001], weight)) for ends in (values, -values))
        return low, -high
    ordered = values.sort().values
    cut = len(ordered) // 1000
    return float(ordered[cut]), float(ordered[len(ordered) - 1 - cut])


def _whole(values: Tensor, axis: Axis, weight: Weight) -> Tensor | None:
    low, high = _quantiles(values, weight)
    if axis.low is not None or axis.high is not None or not bool((values == values.round()).all()):
        return None
    n = worth(len(values), weight)
    step = max(1, -(-int(high - low + 1) // _bins(axis, n)))
    count = -(-int(high - low + 1) // step)
    return low - 0.5 + step * torch.arange(count + 1, dtype=torch.float64)


def histogram(values: Tensor, edges: Tensor, weight: Tensor | None = None) -> Tensor:
    """Counts ``(bins + 2,)`` with under- and overflow at the ends; the last edge belongs to the last bin."""
    index = bin_index(values, edges)
    weight = None if weight is None else weight.double()
    return torch.bincount(index, weights=weight, minlength=len(edges) + 1).double()


def bin_index(values: Tensor, edges: Tensor) -> Tensor:
    """Bin of each finite value, int64: 0 underflow, ``1 ... bins``, ``bins + 1`` overflow.

    Even bins (also in the logarithm) are found by arithmetic, next to an edge by comparison with it.
    """
    numbers = values.detach().cpu().numpy()
    if not np.issubdtype(numbers.dtype, np.floating):
        numbers = numbers.astype(np.float64)
    exact = edges.double().numpy()
    even = _even(exact.tobytes())
    found = np.empty(len(numbers), dtype=np.int64)
    for start in range(0, len(numbers), BLOCK):
        block = numbers[start : start + BLOCK]
        index = _compared(block, exact) if even is None else _computed(block, exact, *even)
        index[block == exact[-1]] = len(exact) - 1
        found[start : start + BLOCK] = index
    return torch.from_numpy(found)


@lru_cache(maxsize=4096)  # every observable is binned many times
def _even(written: bytes) -> tuple[bool, float, float, float] | None:
    """Whether bins are even in the logarithm, the transformed lower end, bins per unit of it, and by how many
    bins an edge lies off an even one; of edges as they lie in memory.
    """
    edges = np.frombuffer(written)
    for log in (False, True):
        if log and edges[0] <= 0:
            return None
        at = np.log2(edges) if log else edges
        steps = np.diff(at)
        if np.ptp(steps) < 1e-6 * abs(steps.mean()):
            scale = (len(edges) - 1) / float(at[-1] - at[0])
            off = np.abs((at - at[0]) * scale - np.arange(len(edges))).max()
            return log, float(at[0]), scale, float(off)
    return None


def _computed(
    values: NDArray[np.floating],
    edges: NDArray[np.float64],
    log: bool,
    low: float,
    scale: float,
    off: float,
) -> NDArray[np.int64]:
    """Bins by arithmetic; what lies within rounding of an edge is compared with the edges."""
    tiny, eps = np.finfo(values.dtype).tiny, float(np.finfo(values.dtype).eps)
    at = np.log2(np.maximum(values, tiny)) if log else values - 0.0  # a copy, changed in place
    at -= values.dtype.type(low)
    at *= values.dtype.type(scale)
    at += 1
    bins = len(edges) - 1
    near = off + 64 * eps * max(bins, abs(low) * scale)  # what rounding may amount to, in bins
    if near > 0.1:
        return _compared(values, edges)
    whole = np.rint(at)
    close = np.flatnonzero(np.abs(at - whole) < near)
    found: NDArray[np.int64] = np.clip(at, 0, bins + 1, out=at).astype(np.int64)
    upper = np.clip(whole[close], 1, bins + 1).astype(np.int64)
    found[close] = upper - (values[close] < edges[upper - 1])
    return found


def _compared(values: NDArray[np.floating], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bins by comparison with every edge."""
    return np.searchsorted(edges, values.astype(np.float64), side="right")
