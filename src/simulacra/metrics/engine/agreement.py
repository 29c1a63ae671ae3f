r"""Whether two histograms, or two mean profiles, agree: :math:`\chi^2`, degrees of freedom and p.

*One value per event.* Of sums :math:`v_i, w_i` of weights in a bin, their totals :math:`V, W` and sums
:math:`s^2_{v,i}, s^2_{w,i}` of squared weights it is

.. math:: \chi^2 = \sum_i \frac{(v_i / V - w_i / W)^2}{\hat p_i\,(a_i / V + b_i / W)},
          \qquad a_i = \frac{s^2_{v,i}}{v_i}, \quad b_i = \frac{s^2_{w,i}}{w_i},

where :math:`\hat p_i` is the share of both samples together, each counted by its effective number of events
(after Gagunashvili, arXiv:physics/0605123). There is one degree of freedom less than bins; without weights
it is Pearson's of a table of two rows. The variance of the smaller sample alone would be small where its
count is, and p too small. Shapes are compared within the drawn range: what lies outside is no part of it.
Neighbouring bins are joined from the left until the common share is known as well as from :data:`FEWEST`
events. The p-value takes the events of both samples as independent. Where generated events were asked for
with the conditions of the true ones, what these alone fix fluctuates in neither sample, and p is larger
than it should be.

*Several values per event* (its cells, its particles), and profiles: bins are correlated, since whole events
fluctuate. With the difference :math:`d` of the shares or means and the covariances :math:`C` of both, from
whole events, it is :math:`\chi^2 = d^T (C_v + C_w)^+ d`, and degrees of freedom are the rank. It has no
p-value: the fluctuation of the incident energies, which both samples mostly share, is the largest part of
:math:`C`, so that a good model may well have less than one per degree of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as distribution

Array = NDArray[np.float64]
FEWEST = 10.0
"""Effective number of values in a bin, both samples together, from which it counts by itself."""
EVENTS_PER_BIN = 10
"""Events that a degree of freedom of a covariance needs, both samples together, at least."""
RANK = 1e-9
"""Eigenvalue of a correlation matrix, over the largest, below which it counts as zero."""


@dataclass(frozen=True)
class Agreement:
    r"""How well two samples agree.

    Args:
        chi2: :math:`\chi^2`.
        ndf: Degrees of freedom, at least 1.
        p: Probability of a larger value for samples of one distribution; None where it is not known.
    """

    chi2: float
    ndf: int
    p: float | None = None


def of_shares(counts: tuple[Array, Array], variances: tuple[Array, Array]) -> Agreement | None:
    """Of histograms of one value per event.

    Args:
        counts: Weighted counts ``(K,)`` of both samples, none negative.
        variances: Sums of squared weights ``(K,)``.

    Returns:
        None where fewer than two bins are left.
    """
    if not all(v.sum() > 0 for v in variances):
        return None
    share, variance = _pooled(counts, variances)
    groups = joined(2 * share, variance)
    if groups.shape[1] < 2:
        return None
    first, second = counts[0] @ groups, counts[1] @ groups
    _, spread = _pooled((first, second), (variances[0] @ groups, variances[1] @ groups))
    difference = first / first.sum() - second / second.sum()
    value, ndf = float((difference**2 / spread).sum()), groups.shape[1] - 1
    return Agreement(value, ndf, float(distribution.sf(value, ndf)))


def _pooled(counts: tuple[Array, Array], variances: tuple[Array, Array]) -> tuple[Array, Array]:
    """Common share of the bins, and with it the variance of the difference of both shares ``(K,)``."""
    sizes = [n.sum() ** 2 / v.sum() for n, v in zip(counts, variances, strict=True)]
    shares = [n / n.sum() for n in counts]
    common = (sizes[0] * shares[0] + sizes[1] * shares[1]) / sum(sizes)
    spread = np.zeros_like(common)
    for n, v in zip(counts, variances, strict=True):
        mean_weight = np.full_like(n, v.sum() / n.sum())
        np.divide(v, n, out=mean_weight, where=n > 0)
        spread += common * mean_weight / n.sum()
    return common, spread


def of_events(
    contents: tuple[Array, Array], covariances: tuple[Array, Array], events: float, join: bool
) -> Agreement | None:
    """Of what whole events fluctuate in.

    Args:
        contents: Shares of the bins or means ``(K,)`` of both samples.
        covariances: Their covariances ``(K, K)``.
        events: Effective number of events of both samples.
        join: Whether bins with few values are joined, as of a histogram.

    Returns:
        None where there are too few events for the number of bins.
    """
    total = covariances[0] + covariances[1]
    difference = contents[0] - contents[1]
    if join:
        groups = joined(contents[0] + contents[1], total)
        difference, total = difference @ groups, groups.T @ total @ groups
    varies = np.diag(total) > 0
    scale = np.sqrt(np.diag(total)[varies])
    if not len(scale) or not np.isfinite(difference).all():
        return None
    values, vectors = np.linalg.eigh(total[np.ix_(varies, varies)] / np.outer(scale, scale))
    kept = values > RANK * values[-1]
    ndf = int(kept.sum())
    if ndf * EVENTS_PER_BIN > events:
        return None
    projected = (difference[varies] / scale) @ vectors[:, kept]
    return Agreement(float((projected**2 / values[kept]).sum()), ndf)


def joined(shares: Array, variance: Array) -> Array:
    """Which bins are joined: ``(K, groups)``, 1 where a bin is part of a group.

    Args:
        shares: Sum of the shares of both samples ``(K,)``.
        variance: Its variance ``(K,)``, or its covariance ``(K, K)``.
    """
    covariance = np.diag(variance) if variance.ndim == 1 else variance
    starts, start = [], 0
    for stop in range(1, len(shares) + 1):
        noise = covariance[start:stop, start:stop].sum()
        if noise > 0 and shares[start:stop].sum() ** 2 >= FEWEST * noise:
            starts.append(start)
            start = stop
    if not starts:
        return np.zeros((len(shares), 0))
    member = np.searchsorted(starts, np.arange(len(shares)), side="right") - 1  # the rest: the last
    return (member[:, None] == np.arange(len(starts))).astype(float)
