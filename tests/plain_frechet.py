"""The distances between drawn events behind FPD (arXiv:2211.10295), one step after the other."""

from __future__ import annotations

import numpy as np
from scipy.linalg import sqrtm


def plain_means(
    x: np.ndarray, y: np.ndarray, low: int, high: int, seed: int
) -> tuple[np.ndarray, list[float]]:
    """Ten inverse sizes and the mean distance of twenty draws of each, on whose line FPD lies at 0."""
    scale = np.abs(x).max(0)
    x, y = x / scale, y / scale
    sizes = (1 / np.linspace(1 / low, 1 / high, 10)).astype(int)
    rng, means = np.random.default_rng(seed), []
    for size in sizes:
        found = []
        for _ in range(20):
            a, b = x[rng.choice(len(x), size=size)], y[rng.choice(len(y), size=size)]
            s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
            shift = a.mean(0) - b.mean(0)
            found.append(shift @ shift + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t)).real)
        means.append(float(np.mean(found)))
    return 1 / sizes, means
