r"""Fréchet and kernel physics distance of high-level features (arXiv:2211.10295).

Features are divided by the largest absolute value of each in the reference.  The Fréchet distance of two
samples of :math:`N` events with means :math:`\mu` and covariances :math:`\Sigma`,

.. math:: d^2(N) = |\mu_1 - \mu_2|^2 + \mathrm{Tr}\,(\Sigma_1 + \Sigma_2 - 2\,(\Sigma_1 \Sigma_2)^{1/2}),

is biased by a term in :math:`1/N`.  **FPD** is the intercept at :math:`1/N = 0` of a line (intercept and
slope not negative) through the means of 20 pairs of draws at each of ten :math:`N`.  **KPD** is the median
over batches of the unbiased quadratic MMD with the kernel :math:`(x \cdot y / d + 1)^4`.

Events are drawn with replacement by numpy's default generator in the order of jetnet 0.2.5, so that the same
files and seed give the same figures as there.  The CaloChallenge calls FPD with ``min_samples=10_000`` and
KPD with ``batch_size=10_000``.

Their errors are those of the figures: the jackknife over events
(:mod:`simulacra.metrics.distances.jackknife`) and that of the draws, in quadrature. The published ones stand
beside them as ``fpd/fit_error`` and ``kpd/batch_error``: they are those of draws from one pair of samples,
FPD's 10 to 15 times smaller than the spread between pairs.

Both figures need equal weights, so that weighted events are drawn in proportion to their weights.

Note:
    The line of FPD is the exact non-negative least-squares solution. jetnet fits it by a trust-region search
    that starts at (1, 1): where that converges the two are equal; it stays at 1 ± 0 where distances are far
    above 1, as those of a sample with a single exploding event are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import starmap

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, eigh, eigvalsh
from scipy.optimize import nnls
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.metrics.distances.draw_moments import at_once, draw_moments
from simulacra.metrics.distances.drawn import (
    EVENTS_PER_FEATURE,
    OVERFLOW,
    Array,
    draw,
    scaled,
)
from simulacra.metrics.distances.jackknife import block_count, blocks, replicas, variance
from simulacra.metrics.distances.kernel import kpd
from simulacra.metrics.engine.score import (
    Figure,
    Judged,
    TwoSampleMetric,
    score_constructor,
)
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weights, probabilities

POINTS = 10
"""Sample sizes that the line of FPD goes through."""
PAIRS = 20
"""Pairs of draws at each of them."""


def fpd(
    reference: Tensor,
    generated: Tensor,
    *,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    normalise: bool = True,
    seed: int = 42,
    weights: Weights = UNWEIGHTED,
) -> Figure:
    """Fréchet physics distance, extrapolated to infinitely many events.

    With fewer events than ``min_samples`` the draws repeat events: the extrapolation then runs to the
    distance of the two finite samples, which differ by their own fluctuations, so that the truth scores
    above 0 by an amount that grows with the number of features and falls as 1/events.

    Args:
        reference: Features of the truth ``(N, F)``; they set the scale.
        generated: Features of generated events ``(M, F)``.
        min_samples: Events per draw at the first point of the line.
        max_samples: Events per draw at the last.
        normalise: Whether to scale the features.
        seed: Seed of the draws.
        weights: Weights above 0 of the true and of the generated events, which are drawn in proportion.

    Returns:
        Intercept and its error, with the error of the fit alone as ``fit_error``.

    Raises:
        NotRun: If features are not finite.
    """
    real, fake = scaled(reference, generated, normalise)
    centre = real.mean(0)  # a common shift changes no distance and keeps the sums of squares small
    real, fake = real - centre, fake - centre
    sizes = (1 / np.linspace(1 / min_samples, 1 / max_samples, POINTS)).astype(np.int64)
    rng = np.random.default_rng(seed)
    samples = list(zip((real, fake), map(probabilities, weights), strict=True))
    drawn_sizes = np.repeat(sizes, PAIRS)
    together = min(at_once(len(x), x.shape[1]) for x, _ in samples)
    values = []
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(drawn_sizes), together):
            part = drawn_sizes[start : start + together].tolist()
            counts = [[draw(rng, len(x), size, p) for x, p in samples] for size in part]
            first, second = (
                draw_moments(x, own)
                for (x, _), own in zip(samples, zip(*counts, strict=True), strict=True)
            )
            values += list(starmap(frechet, zip(*first, *second, strict=True)))
        means = np.reshape(values, (POINTS, PAIRS)).mean(1)
        if not np.isfinite(means).all():
            return Figure(math.inf, note=OVERFLOW)
        value, fit = _intercept(1 / sizes, means)
        count = block_count(len(real), len(fake))
        real_blocks, fake_blocks = (
            BlockMoments(x, p, blocks(len(x), count), count) for x, p in samples
        )
        sampling = frechet_error(real_blocks, fake_blocks, count)
    return Figure(
        value,
        math.hypot(fit, sampling),
        power=1.0,
        least=EVENTS_PER_FEATURE * real.shape[1],
        details={"fit_error": fit},
    )


def frechet(mean: Array, covariance: Array, other_mean: Array, other_covariance: Array) -> float:
    r"""Squared Fréchet distance of two Gaussians.

    :math:`\mathrm{Tr}\,(\Sigma_1 \Sigma_2)^{1/2}` is the sum of the roots of the eigenvalues of the symmetric
    :math:`L^T \Sigma_2 L` with :math:`\Sigma_1 = L L^T`. Covariances that overflow have an infinite distance.
    """
    if not all(np.isfinite(part).all() for part in (covariance, other_covariance)):
        return math.inf
    root = _root(covariance)
    product = eigvalsh(root.T @ other_covariance @ root, check_finite=False)
    cross = np.sqrt(product.clip(min=0)).sum()
    traces = np.trace(covariance) + np.trace(other_covariance)
    return float(np.square(mean - other_mean).sum() + traces - 2 * cross)


Moments = Callable[[Array], tuple[Array, Array]]
"""Mean ``(F,)`` and covariance ``(F, F)`` of those blocks of a sample that are kept ``(B,)``, 1 or 0."""


class BlockMoments:
    """:data:`Moments` from sums over the events of each block.

    Args:
        x: Features ``(N, F)``, best with a mean near 0.
        shares: Shares of the events in the sum of their weights ``(N,)``; None: all weigh the same.
        block: Block of each event ``(N,)``.
        count: Number of blocks.
    """

    def __init__(
        self, x: Array, shares: Array | None, block: NDArray[np.int64], count: int
    ) -> None:
        weight = np.ones(len(x)) if shares is None else shares * len(x)
        root = np.sqrt(weight)[:, None]
        own = [block == b for b in range(count)]
        self.zeroth = np.array([weight[b].sum() for b in own])
        self.first = np.array([weight[b] @ x[b] for b in own])
        rows = (x[b] * root[b] for b in own)
        self.second = np.array([part.T @ part for part in rows])

    def __call__(self, kept: Array) -> tuple[Array, Array]:
        """Mean and unbiased covariance without the other blocks."""
        n = kept @ self.zeroth
        mean = kept @ self.first / n
        second = np.tensordot(kept, self.second, 1)
        return mean, (second - n * np.outer(mean, mean)) / (n - 1)


def frechet_error(first: Moments, second: Moments, count: int) -> float:
    """Error of the Fréchet distance of two samples in ``count`` blocks by the jackknife."""
    found = [frechet(*first(kept), *second(kept)) for kept in replicas(count)]
    return variance(np.array(found), count).error()


class FPD(TwoSampleMetric):
    """:func:`fpd` of all features that were seen."""

    def __init__(
        self, min_samples: int = 20_000, max_samples: int = 50_000, seed: int = 42
    ) -> None:
        super().__init__()
        self.min_samples, self.max_samples, self.seed = min_samples, max_samples, seed

    def compute(self) -> Tensor:
        """Value and error ``(2,)``."""
        sizes = self.min_samples, self.max_samples
        real, fake = self.rows()
        return _tensor(fpd(real, fake, min_samples=sizes[0], max_samples=sizes[1], seed=self.seed))


class KPD(TwoSampleMetric):
    """:func:`kpd` of all features that were seen."""

    def __init__(self, batches: int = 10, batch_size: int = 5000, seed: int = 42) -> None:
        super().__init__()
        self.batches, self.batch_size, self.seed = batches, batch_size, seed

    def compute(self) -> Tensor:
        """Value and error ``(2,)``."""
        real, fake = self.rows()
        return _tensor(
            kpd(real, fake, batches=self.batches, batch_size=self.batch_size, seed=self.seed)
        )


def high_level(sample: Judged) -> Tensor:
    """High-level classifier inputs ``(N, F)``."""
    return sample.sample.features


@score_constructor
def feature_distances(
    reference: Judged,
    generated: Judged,
    seed: int,
    *,
    features: Callable[[Judged], Tensor] = high_level,
    min_samples: Count = 20_000,
    max_samples: Count = 50_000,
    batch_size: Count = 5000,
    draws: Count = 42,
) -> dict[str, Figure]:
    """``fpd`` and ``kpd`` of features of the events.

    Args:
        reference: The truth.
        generated: Generated events.
        seed: Not used: the published figures are those of one fixed seed of the draws.
        features: Features of a sample ``(N, F)``; by default the high-level classifier inputs.
        min_samples: See :func:`fpd`.
        max_samples: See :func:`fpd`.
        batch_size: See :func:`kpd`.
        draws: Seed of the draws.
    """
    pair = features(reference), features(generated)
    weights = reference.weight, generated.weight
    return {
        "fpd": fpd(
            *pair, min_samples=min_samples, max_samples=max_samples, seed=draws, weights=weights
        ),
        "kpd": kpd(*pair, batch_size=batch_size, seed=draws, weights=weights),
    }


def _tensor(figure: Figure) -> Tensor:
    return torch.tensor([figure.value, figure.error], dtype=torch.float64)


def _intercept(x: Array, y: Array) -> tuple[float, float]:
    """Intercept of the line with no negative coefficient that is nearest to points, and its error from their
    scatter.
    """
    columns, scale = np.stack([np.ones_like(x), x / x.max()], axis=1), np.abs(y).max() or 1.0
    found, residual = nnls(columns, y / scale)
    covariance = np.linalg.inv(columns.T @ columns) * residual**2 / (len(x) - 2)
    return float(found[0] * scale), float(np.sqrt(covariance[0, 0]) * scale)


def _root(covariance: Array) -> Array:
    """``L`` with ``L L^T`` the covariance: Cholesky's, or by eigenvalues where features are dependent."""
    try:
        return cholesky(covariance, lower=True, check_finite=False)
    except LinAlgError:
        values, vectors = eigh(covariance, check_finite=False)
        return vectors * np.sqrt(values.clip(min=0))
