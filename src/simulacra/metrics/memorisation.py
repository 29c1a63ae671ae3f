r"""Whether a generator repeats its training events, or itself.

In high-level features standardised by the training events, let :math:`d` be the distance of an event to the
nearest training event, and :math:`q` the 5 % quantile of :math:`d` over true events that were not trained on.
A generator that has learnt the distribution has a share :math:`s` of about :math:`p = 0.05` of its :math:`M`
events nearer than :math:`q`; one that has learnt the events has more.  Where the :math:`N` true events set
:math:`q`, the significance is

.. math:: (s - p) / \sqrt{p\,(1 - p)\,(1/N + 1/M)}.

A generator that favours the middle of the distribution also has more; diversity figures tell the two apart.

**Duplicates**: the same within one sample.  Of the first :math:`n = \min(N, M)` events of each kind, the
share of generated events whose nearest other generated event is nearer than the 1 % quantile of the truth's.
"""

from __future__ import annotations

import math

from torch import Tensor

from simulacra.metrics.neighbours import nearest, radii
from simulacra.metrics.prdc import standardised
from simulacra.metrics.score import Figure, Judged, NotRun

NEAR = 0.05
"""Share of true events that are near a training event, by definition."""
TWIN = 0.01
"""Share of true events that are near another, by definition."""
MIN_EVENTS = 200
"""Events below which the quantiles are those of a handful."""


def memorisation(reference: Tensor, generated: Tensor, training: Tensor) -> dict[str, Figure]:
    """Shares of generated events that lie too near to training events, and to one another.

    Args:
        reference: Features of true events that were not trained on ``(N, F)``.
        generated: Features of generated events ``(M, F)``.
        training: Features of the training events ``(T, F)``.

    Returns:
        ``share`` (0.05 for a perfect generator) with its error, ``significance`` of its excess in standard
        deviations, and ``duplicates`` (0.01).

    Raises:
        NotRun: With fewer than 200 events of a kind.
    """
    if min(len(reference), len(generated), len(training)) < MIN_EVENTS:
        sizes = f"{len(reference)}, {len(generated)} and {len(training)}"
        raise NotRun(
            f"memorisation needs {MIN_EVENTS} true, generated and training events, got {sizes}"
        )
    known, true, made = (standardised(x, training) for x in (training, reference, generated))
    share, expected = _nearer(nearest(made, known), nearest(true, known), NEAR)
    n, m = len(true), len(made)
    deviation = math.sqrt(expected * (1 - expected) * (1 / n + 1 / m))
    return {
        "share": Figure(share, math.sqrt(share * (1 - share) / m), floor=expected),
        "significance": Figure((share - expected) / deviation, 1.0, floor=0.0),
        "duplicates": duplicates(true, made),
    }


def duplicates(reference: Tensor, generated: Tensor) -> Figure:
    """Share of generated events with a twin; as twins are mutual, two events count as one in the error.

    Args:
        reference: Features of true events ``(N, F)`` in units in which distances mean something.
        generated: Features of generated events ``(M, F)``.
    """
    n = min(len(reference), len(generated))
    share, expected = _nearer(radii(generated[:n], 1), radii(reference[:n], 1), TWIN)
    variance = 2 * (share * (1 - share) + expected * (1 - expected)) / n
    return Figure(share, math.sqrt(variance), floor=expected)


def memorisation_score(
    reference: Judged, generated: Judged, seed: int, *, events: int = 10_000
) -> dict[str, Figure]:
    """``memorisation/{share,significance,duplicates}`` in the high-level classifier inputs.

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
    found = memorisation(true, made, reference.training.sample.features)
    return {f"memorisation/{name}": figure for name, figure in found.items()}


def _nearer(distances: Tensor, truth: Tensor, share: float) -> tuple[float, float]:
    """Shares of generated and of true events within the truth's quantile; ties count as within."""
    quantile = truth.sort().values[max(0, math.ceil(share * len(truth)) - 1)]
    within = [float((d <= quantile).double().mean()) for d in (distances, truth)]
    return within[0], within[1]
