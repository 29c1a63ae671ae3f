r"""Whether a generator repeats its training events, or itself.

In high-level features standardised by the training events, let :math:`d` be the distance of an event to the
nearest training event, and :math:`q` the 5 % quantile of :math:`d` over true events that were not trained on.
A generator that has learnt the distribution has a share :math:`s` of about :math:`p = 0.05` of its :math:`M`
events nearer than :math:`q`; one that has learnt the events has more.  Where the :math:`N` true events set
:math:`q`, its excess in standard deviations is

.. math:: z = (s - p) / \sqrt{p\,(1 - p)\,(1/N + 1/M)}.

Others take the median distance of generated events from the nearest training event, over that of training
events from one another (arXiv:2604.01313). It is not given beside the share: a median hardly moves before
half of the events are copies, while a tenth of them triples the share.

A generator that favours the middle of the distribution also has more; diversity figures tell the two apart.

**Duplicates**: the same within one sample.  Of the first :math:`n = \min(N, M)` events of each kind, the
share of generated events whose nearest other generated event is nearer than the 1 % quantile of the truth's.

Of weighted events :math:`s` is the share of the weight, the quantile that of the truth's weight, and
:math:`N` and :math:`M` are effective numbers. Duplicates count neighbours and take no weights of true or
generated events.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.metrics.distances.neighbours import nearest, radii
from simulacra.metrics.distances.prdc import standardised
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weight, Weights, mean, part, worth

NEAR = 0.05
"""Share of true events that are near a training event, by definition."""
TWIN = 0.01
"""Share of true events that are near another, by definition."""
MIN_EVENTS = 200
"""Events below which the quantiles are those of a handful."""


def memorisation(
    reference: Tensor,
    generated: Tensor,
    training: Tensor,
    weights: tuple[Weight, Weight, Weight] = (None, None, None),
) -> dict[str, Figure]:
    """Shares of generated events that lie too near to training events, and to one another.

    Args:
        reference: Features of true events that were not trained on ``(N, F)``.
        generated: Features of generated events ``(M, F)``.
        training: Features of the training events ``(T, F)``.
        weights: Weights of the true, generated and training events.

    Returns:
        ``share`` (0.05 for a perfect generator) and ``duplicates`` (0.01; NaN and a note of weighted
        events), each with its error and, as ``null``, that of a perfect generator.

    Raises:
        NotRun: With fewer than 200 events of a kind.
    """
    if min(len(reference), len(generated), len(training)) < MIN_EVENTS:
        sizes = f"{len(reference)}, {len(generated)} and {len(training)}"
        raise NotRun(
            f"memorisation needs {MIN_EVENTS} true, generated and training events, got {sizes}"
        )
    true_weight, made_weight, known_weight = weights
    known, true, made = (
        standardised(x, training, known_weight) for x in (training, reference, generated)
    )
    near = nearest(made, known), nearest(true, known)
    share, expected = _nearer(*near, NEAR, (made_weight, true_weight))
    n, m = worth(len(true), true_weight), worth(len(made), made_weight)
    deviation = math.sqrt(expected * (1 - expected) * (1 / n + 1 / m))
    return {
        "share": Figure(share, math.sqrt(share * (1 - share) / m), floor=expected, null=deviation),
        "duplicates": (
            duplicates(true, made)
            if true_weight is None and made_weight is None
            else Figure(math.nan, floor=math.nan, note="takes no weights: it counts neighbours")
        ),
    }


def duplicates(reference: Tensor, generated: Tensor) -> Figure:
    """Share of generated events with a twin; as twins are mutual, two events count as one in the error.

    Args:
        reference: Features of true events ``(N, F)`` in units in which distances mean something.
        generated: Features of generated events ``(M, F)``.
    """
    n = min(len(reference), len(generated))
    share, expected = _nearer(radii(generated[:n], 1), radii(reference[:n], 1), TWIN)
    found, null = (2 * x * (1 - x) / n for x in (share, expected))
    return Figure(share, math.sqrt(found + null), floor=expected, null=math.sqrt(2 * null))


@score_constructor
def memorisation_score(
    reference: Judged, generated: Judged, seed: int, *, events: int = 10_000
) -> dict[str, Figure]:
    """``memorisation/{share,duplicates}`` in the high-level classifier inputs.

    Args:
        reference: True events with the training events of the generator.
        generated: Generated events.
        seed: Not used: nothing is drawn.
        events: True and generated events at most, the first ones; all training events are searched.

    Raises:
        NotRun: Where the training events are not known.
    """
    if reference.training is None:
        raise NotRun("the training events of this sample are not known")
    true, made = (judged.sample.features[:events] for judged in (reference, generated))
    weights = [part(judged.weight, slice(events)) for judged in (reference, generated)]
    known = reference.training
    found = memorisation(true, made, known.sample.features, (weights[0], weights[1], known.weight))
    return {f"memorisation/{name}": figure for name, figure in found.items()}


def _nearer(
    distances: Tensor, truth: Tensor, share: float, weights: Weights = UNWEIGHTED
) -> tuple[float, float]:
    """Shares of generated and of true events, with their weights, within the truth's quantile; ties count as
    within.
    """
    ordered, order = truth.sort()
    if weights[1] is None:
        quantile = ordered[max(0, math.ceil(share * len(truth)) - 1)]
    else:
        reached = weights[1][order].cumsum(0)
        quantile = ordered[int(torch.searchsorted(reached, share * reached[-1]))]
    within = [
        float(mean((d <= quantile).double(), weight))
        for d, weight in zip((distances, truth), weights, strict=True)
    ]
    return within[0], within[1]
