r"""Differential amplification: how many training events a generator is worth without an average over cells
(arXiv:2509.08048).

Two samples are compared by the best single number that tells them apart, the likelihood ratio of both,
with the test of Kolmogorov and Smirnov. A sample of :math:`n` true events fails that test by as much as
the generated one does, and the gain is :math:`n / n_{train}` (:mod:`simulacra.metrics.worth.equivalent`).
It is a property of a part of phase space: choose the events first to look at one.

The ratio has to be learned from events that are compared no more: :func:`summary` learns it by the kernels of
:mod:`simulacra.metrics.distances.nplm` from halves of both samples and gives it for the others.

Note:
    The construction follows the article's abstract; its settings are not public.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.stats import kstwobign
from torch import Tensor

from simulacra.metrics.distances.kolmogorov import kolmogorov
from simulacra.metrics.distances.nplm import RATIO, nplm, width_of
from simulacra.metrics.distances.prdc import standardised
from simulacra.metrics.worth.equivalent import Worth, equivalent_of


@dataclass(frozen=True)
class Differential:
    """Gain of generated events by one summary.

    Args:
        worth: True events that come as close, or a bound.
        gain: These over the training events; NaN where there is a bound alone.
        error: Its error; NaN likewise.
        at_least: Lower bound of the gain; NaN where there is none.
        at_most: Upper bound of the gain; NaN where there is none.
        p: Probability of a larger distance between true samples, by the asymptotic distribution; too large
            where many values are equal.
    """

    worth: Worth
    gain: float
    error: float
    at_least: float
    at_most: float
    p: float


def differential(
    reference: Tensor, truth: Tensor, generated: Tensor, trained: int, seed: int = 0
) -> Differential:
    """Gain by a summary.

    Args:
        reference: Summary of true events ``(N,)``.
        truth: Of other true events ``(T,)``.
        generated: Of generated events ``(M,)``.
        trained: Training events of the generator.
        seed: Seed of true samples and bootstrap.

    Raises:
        NotRun: With fewer than 200 true events of either kind.
        UserError: If the summary is constant in the truth.
    """
    worth = equivalent_of(reference[:, None], truth[:, None], generated[:, None], seed)
    distance = float(kolmogorov(reference[:, None], generated[:, None])[0])
    n = len(reference) * len(generated) / (len(reference) + len(generated))
    return Differential(
        worth,
        worth.value / trained,
        worth.error / trained,
        worth.at_least / trained,
        worth.at_most / trained,
        float(kstwobign.sf(distance * math.sqrt(n))),
    )


def summary(
    reference: Tensor, truth: Tensor, generated: Tensor, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithm of the learned ratio of densities, generated over true, of events it was not learned from.

    Args:
        reference: Features of true events ``(N, F)``; half of them are learned from.
        truth: Of other true events ``(T, F)``.
        generated: Of generated events ``(M, F)``; half of them are learned from.
        seed: Seed of the halves and of the kernels.

    Returns:
        The summary of the other half of the reference, of the truth, and of the other half of the generated
        events.
    """
    generator = torch.Generator().manual_seed(seed)
    true, other, made = (standardised(x, reference) for x in (reference, truth, generated))
    halves = []
    for rows in (true, made):
        order = torch.randperm(len(rows), generator=generator)
        halves.append((rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]))
    (learned, true), (shown, made) = halves
    shown = shown[: max(1, len(learned) // RATIO)]
    _, ratio = nplm(learned, shown, width_of(learned), generator=generator)
    return ratio.log(true), ratio.log(other), ratio.log(made)
