r"""Means and covariances of many draws from one sample.

With :math:`c_{de}`, how often draw :math:`d` holds event :math:`e`, all second moments are one product,

.. math:: \sum_e c_{de}\, x_{ei} x_{ej} = (C\,P)_{d,(ij)}, \qquad P_{e,(ij)} = x_{ei} x_{ej},

which for a few dozen features is three times faster than to pick the events of each draw. Of many features,
or where draws leave nearly all events out, the events are picked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulacra.metrics.distances.drawn import Array, Counts

FEW = 64
"""Features up to which all draws are one product."""
HELD = 0.2
"""Share of the events that a draw holds in the mean, from which on it is."""
TOGETHER = 256
"""Pairs of features whose products are in memory at once."""
AT_ONCE = 2**23
"""Numbers of one kind that are in memory at once."""


def at_once(events: int, features: int) -> int:
    """How many draws from so many events may be in memory together."""
    return max(1, AT_ONCE // max(events, features**2))


def draw_moments(x: Array, counts: Sequence[Counts]) -> tuple[Array, Array]:
    """Means ``(D, F)`` and unbiased covariances ``(D, F, F)`` of draws.

    Args:
        x: The sample ``(N, F)``, best with a mean near 0.
        counts: How often each draw holds each event, ``(N,)`` each.
    """
    held = np.mean([np.count_nonzero(draw) for draw in counts]) / len(x)
    together = x.shape[1] <= FEW and held >= HELD
    return multiplied(x, counts) if together else picked(x, counts)


def multiplied(x: Array, counts: Sequence[Counts]) -> tuple[Array, Array]:
    """All draws in one product."""
    weight, features = np.array(counts, dtype=np.float64), x.shape[1]
    columns = np.ascontiguousarray(x.T)  # (F, N)
    pairs = np.stack(np.triu_indices(features))
    second = np.empty((len(weight), features, features))
    step = max(1, min(TOGETHER, AT_ONCE // len(x)))
    for start in range(0, pairs.shape[1], step):
        first, other = pairs[:, start : start + step]
        products = np.empty((len(first), len(x)))
        for row, i, j in zip(products, first, other, strict=True):
            np.multiply(columns[i], columns[j], out=row)
        second[:, first, other] = second[:, other, first] = weight @ products.T
    return _centred(weight.sum(1), weight @ x, second)


def picked(x: Array, counts: Sequence[Counts]) -> tuple[Array, Array]:
    """One draw after the other, from the events that it holds."""
    first, second = [], []
    for draw in counts:
        kept = draw.nonzero()[0]
        rows, weight = x[kept], draw[kept].astype(np.float64)
        first.append(weight @ rows)
        rows *= np.sqrt(weight)[:, None]
        # numpy computes the product of a matrix with its own transpose at half the cost
        second.append(rows.T @ rows)
    return _centred(np.array([draw.sum() for draw in counts]), np.array(first), np.array(second))


def _centred(n: Array, first: Array, second: Array) -> tuple[Array, Array]:
    mean = first / n[:, None]
    second -= n[:, None, None] * mean[:, :, None] * mean[:, None]
    return mean, second / (n - 1)[:, None, None]
