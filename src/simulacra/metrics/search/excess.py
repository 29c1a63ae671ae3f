r"""An excess within a mass window behind a cut, over what the events beside it lead to expect.

Whether an event is kept by the cut depends on its mass smoothly, as long as the cut knows nothing of the
window. The share that is kept is fitted to the events beside the window,

.. math:: \epsilon(m) = \sigma\left(\theta_0 + \theta_1 u + \theta_2 u^2\right), \qquad
          u = \frac{2 m - l - h}{h - l},

for a window from :math:`l` to :math:`h`. With the masses of the events within it
:math:`K = \sum_i w_i k_i` is compared with :math:`E = \sum_i w_i \epsilon(m_i)`. The variance is that of the
events within the window, :math:`\sum_i w_i^2 \epsilon_i (1 - \epsilon_i)`, and that of the fit, by the
sandwich formula, so that weights of any kind may stand in it. What the background is plays no part.
"""

from __future__ import annotations

import math

import torch
from scipy.stats import norm
from torch import Tensor

from simulacra.core import UserError

STEPS = 50
"""Newton's steps, at most."""
FEWEST = 10
"""Events that are kept beside the window, at least."""


def excess(
    mass: Tensor, kept: Tensor, window: tuple[float, float], weight: Tensor | None = None
) -> dict[str, float]:
    """Significance of what a cut keeps within a window.

    Args:
        mass: Of events within the window and beside it, ``(N,)``.
        kept: Which of them the cut keeps, bool ``(N,)``.
        window: Its ends, the lower one belongs to it.
        weight: Weights of the events ``(N,)``, or None.

    Returns:
        ``kept`` and ``expected``, sums of weights within the window, ``expected/error`` of the fit alone,
        ``z`` in standard deviations, and ``p`` for as large an excess by chance.

    Raises:
        UserError: If there are no events within the window, or the cut keeps too few or all beside it.
    """
    low, high = window
    u = (2 * mass.double() - low - high) / (high - low)
    inside = (mass >= low) & (mass < high)
    w = torch.ones_like(u) if weight is None else weight.double()
    beside, count = ~inside, int((kept & ~inside).sum())
    if not bool(inside.any()) or count < FEWEST or count == int(beside.sum()):
        raise UserError(
            f"an excess is that of events within a window over a cut that keeps {FEWEST} or more, but not "
            f"all, beside it: got {int(inside.sum())} within, and {count} of {int(beside.sum())} kept beside"
        )
    x = torch.stack([torch.ones_like(u), u, u.square()], 1)
    theta, covariance = _fitted(x[beside], kept[beside].double(), w[beside])
    share = (x[inside] @ theta).sigmoid()
    own, spread = w[inside], share * (1 - share)
    slope = (own * spread) @ x[inside]
    found, expected = float((own * kept[inside]).sum()), float((own * share).sum())
    error = math.sqrt(float(slope @ covariance @ slope))
    z = (found - expected) / math.hypot(error, math.sqrt(float((own.square() * spread).sum())))
    return {
        "kept": found,
        "expected": expected,
        "expected/error": error,
        "z": z,
        "p": float(norm.sf(z)),
    }


def _fitted(x: Tensor, kept: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of a weighted logistic regression, and their covariance, from rows ``(N, K)``."""
    mean = float((weight * kept).sum() / weight.sum())
    theta = x.new_zeros(x.shape[1])
    theta[0] = math.log(mean / (1 - mean))
    scale = (
        x.square().mean(0).sqrt()
    )  # Newton's steps are the same, and their matrix is not near singular
    rows = x / scale
    theta = theta * scale
    for _ in range(STEPS):
        share = (rows @ theta).sigmoid()
        curvature = rows.T @ ((weight * share * (1 - share))[:, None] * rows)
        step = torch.linalg.solve(curvature, rows.T @ (weight * (kept - share)))
        theta = theta + step
        if float(step.abs().max()) < 1e-9:
            break
    inverse = torch.linalg.inv(curvature) / scale[:, None]
    scores = (weight * (kept - share))[:, None] * rows
    return theta / scale, inverse @ (scores.T @ scores) @ inverse.T
