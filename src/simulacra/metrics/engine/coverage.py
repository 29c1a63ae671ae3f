r"""Whether draws of a posterior are as wide as they should be.

For a true value :math:`z` and :math:`L` draws of its posterior, the rank is the share of the posterior below
it,

.. math:: r = \frac{\#\{z_l < z\} + \tfrac12 \#\{z_l = z\} + \tfrac12}{L + 1},

which is uniform in (0, 1) over events, if the posterior is that of the events. The central interval of
content :math:`\alpha` covers the truth where :math:`|r - 1/2| < \alpha / 2`: a share below :math:`\alpha`
says that draws are too narrow, above that they are too wide.

Reference: Talts et al. 2018, arXiv:1804.06788 (simulation-based calibration).
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.band import ONE_SIGMA
from simulacra.metrics.engine.score import Figure
from simulacra.metrics.engine.weighted import Weight, mean, worth


def ranks(truth: Tensor, draws: Tensor) -> Tensor:
    """Ranks ``(B, F)``, float64.

    Args:
        truth: True values ``(B, F)``.
        draws: Draws of the posterior of each event ``(L, B, F)``.

    Raises:
        UserError: If there are no draws, or not of these events.
    """
    if draws.ndim != 3 or draws.shape[1:] != truth.shape or not len(draws):
        raise UserError(
            f"ranks need draws (L, B, F) of the same events, got {tuple(draws.shape)} for "
            f"{tuple(truth.shape)}"
        )
    below, equal = (draws < truth).double().sum(0), (draws == truth).double().sum(0)
    return (below + equal / 2 + 0.5) / (len(draws) + 1)


def coverage(rank: Tensor, content: float = ONE_SIGMA, weight: Weight = None) -> list[Figure]:
    """Shares of events whose central interval holds the truth, one figure for each column, whose floor is the
    content itself.

    Args:
        rank: Ranks ``(B, F)``.
        content: Content of the interval.
        weight: Weights of the events ``(B,)``, or None.
    """
    share = mean(((rank - 0.5).abs() < content / 2).double(), weight)
    error = (share * (1 - share) / worth(len(rank), weight)).sqrt()
    return [
        Figure(value, uncertainty, floor=content)
        for value, uncertainty in zip(share.tolist(), error.tolist(), strict=True)
    ]


def uniformity(rank: Tensor, weight: Weight = None) -> Tensor:
    """Largest distance of the distribution function of the ranks from that of a uniform number ``(F,)``."""
    ordered, order = rank.sort(dim=0)
    own = torch.ones(len(rank), dtype=torch.float64) if weight is None else weight.double()
    reached = own[order].cumsum(0) / own.sum()
    before = reached - own[order] / own.sum()
    apart = torch.maximum((reached - ordered).abs(), (before - ordered).abs())
    return apart.amax(0)
