"""FPD as arXiv:2211.10295 describes it, one step after the other."""

from __future__ import annotations

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import curve_fit


def plain_fpd(x: np.ndarray, y: np.ndarray, low: int, high: int, seed: int) -> tuple[float, float]:
    """FPD and the error of its fit: twenty draws at each of ten sizes, extrapolated by a line in 1 / size."""
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
        means.append(np.mean(found))
    value, error = curve_fit(
        lambda z, a, b: a + b * z, 1 / sizes, means, bounds=([0, 0], [np.inf, np.inf])
    )
    return value[0], np.sqrt(error[0, 0])
