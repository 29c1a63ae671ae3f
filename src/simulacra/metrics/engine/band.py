r"""How far several networks of one model differ: an error band on what they generate.

The networks are draws from a posterior or trainings with different seeds. Of the contents :math:`h_k` of a
bin, with statistical errors :math:`e_k`,

.. math:: \bar h = \langle h_k \rangle, \qquad
          \mathrm{spread}^2 = \max\big(0,\ \mathrm{var}\, h_k - \langle e_k^2 \rangle\big),

so that the spread is that of the networks alone and stands beside the statistical error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulacra.metrics.engine.score import Figure

Array = NDArray[np.float64]
FILLED = 10
"""Effective number of true values below which a bin says nothing on a band."""
ONE_SIGMA = 0.6826894921370859


@dataclass(frozen=True)
class Band:
    """Contents of the bins of several networks.

    Args:
        mean: Mean ``(K,)``.
        spread: Standard deviation between the networks ``(K,)``, without the statistical part.
        error: Statistical error of the mean ``(K,)``.
    """

    mean: Array
    spread: Array
    error: Array

    @classmethod
    def of(cls, values: Sequence[Array], errors: Sequence[Array]) -> Band:
        """From contents ``(K,)`` and statistical errors ``(K,)`` of at least two networks."""
        contents, noise = np.stack(values), np.square(np.stack(errors)).mean(0)
        variance = contents.var(0, ddof=1) - noise
        return cls(
            contents.mean(0), np.sqrt(np.maximum(variance, 0)), np.sqrt(noise / len(contents))
        )

    @classmethod
    def counted(cls, counts: Sequence[tuple[Array, Array]]) -> Band:
        """Fractions per bin from weighted counts ``(K,)`` and their squared errors ``(K,)``."""
        found = [(n, v, float(n.sum()) or 1.0) for n, v in counts]
        return cls.of([n / t for n, _, t in found], [np.sqrt(v) / t for _, v, t in found])


def figures(bands: Iterable[tuple[Band, Array, Array]]) -> dict[str, Figure]:
    """``band/coverage``, the share of bins in which the truth lies within one standard deviation of the
    networks' mean, statistical errors included, and ``band/width``, the median spread over the mean.

    Args:
        bands: Bands with weighted counts and their squared errors of the truth ``(K,)``.
    """
    inside, widths = [], []
    for band, truth, variance in bands:
        filled = np.square(truth) >= FILLED * variance  # the effective number of values
        filled &= variance > 0
        total = float(truth.sum()) or 1.0
        error = np.sqrt(np.square(band.spread) + np.square(band.error) + variance / total**2)
        inside.append((np.abs(band.mean - truth / total) <= error)[filled])
        known = filled & (band.mean > 0)
        widths.append(band.spread[known] / band.mean[known])
    if not sum(map(len, widths)):
        return {}
    covered = np.concatenate(inside)
    share = float(covered.mean())
    return {
        "band/coverage": Figure(
            share, float(np.sqrt(share * (1 - share) / len(covered))), floor=ONE_SIGMA
        ),
        "band/width": Figure(float(np.median(np.concatenate(widths))), floor=0.0),
    }
