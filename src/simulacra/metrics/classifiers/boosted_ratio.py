r"""Event weights from boosted trees: the ratio of two samples in high-level features, out of fold.

Trees are no networks: they are fitted once, without gradients or epochs, so that they are no module of a
training and have no checkpoint. What needs them is a study that weighs one sample in one go: each event is
weighed by trees that have not seen it, of :data:`~simulacra.metrics.classifiers.boosted.FOLDS` trainings,
with

.. math:: w(x) = e^{a f(x)},

the log odds :math:`f` of the trees and one factor :math:`a` for all of them, calibrated on events that each
has not seen (:class:`~simulacra.tasks.calibration.Temperature`). Both samples have the same total weight.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.classifiers.boosted import (
    FOLDS,
    ITERATIONS,
    MIN_EVENTS,
    array,
    folds,
    model,
    ranked,
)
from simulacra.tasks.calibration import Temperature


def boosted_ratio(
    first: Tensor,
    second: Tensor,
    first_weight: Tensor | None = None,
    second_weight: Tensor | None = None,
    seed: int = 0,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Weights under which ``second`` is distributed like ``first``, ``(M,)``, float64.

    Args:
        first: High-level features of the target ``(N, F)``; NaN where they are not defined.
        second: The same of the events that are weighed ``(M, F)``.
        first_weight: Event weights ``(N,)``, or None.
        second_weight: Event weights ``(M,)``, or None; the result is without them.
        seed: Seed of folds and trees.
        iterations: Trees.

    Raises:
        UserError: With fewer than 50 events in a sample.
    """
    if min(len(first), len(second)) < MIN_EVENTS:
        raise UserError(
            f"boosted trees need at least {MIN_EVENTS} events of each sample, got {len(first)} and "
            f"{len(second)}"
        )
    x = np.concatenate([array(first), array(second)])
    label = np.concatenate([np.ones(len(first)), np.zeros(len(second))])
    given = (first_weight, second_weight)
    rows = [
        torch.ones(len(part)) if weight is None else weight
        for part, weight in zip((first, second), given, strict=True)
    ]
    weight = torch.cat([row.double() * (len(x) / 2 / row.double().sum()) for row in rows]).numpy()
    if any(item is not None for item in given) or len(first) != len(second):
        x = ranked(x)
    fold = folds([np.arange(len(first)), np.arange(len(second))], seed)
    odds = np.zeros(len(x))
    for number in range(FOLDS):
        inside, outside = fold == number, fold != number
        trees = model(iterations, seed).fit(x[outside], label[outside], weight[outside])
        odds[inside] = trees.decision_function(x[inside])
    found, calibration = torch.from_numpy(odds), Temperature()
    calibration.fit(found, torch.from_numpy(label), torch.from_numpy(weight))
    return calibration(found[len(first) :]).exp()
