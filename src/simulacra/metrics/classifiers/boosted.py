r"""The default judge: boosted trees that tell generated events from the truth, scored out of fold.

Five folds; in each, a histogram-based gradient boosting classifier (scikit-learn) is trained on
four fifths of both samples and scores the rest.  The figure is the mean area :math:`A` under the
ROC curve of the folds: 0.5 for a perfect generator, 1 for one that is always found out.  Its error
starts from that of Hanley and McNeil (1982) with :math:`N` and :math:`M` events,

.. math:: \sigma^2 = \frac{A(1-A) + (N-1)(Q_1 - A^2) + (M-1)(Q_2 - A^2)}{N M},
          \quad Q_1 = \tfrac{A}{2-A},\; Q_2 = \tfrac{2A^2}{1+A},

and allows for folds that share training events: :math:`\sigma^2` grows by :math:`1 + K/(K-1)` for
:math:`K` folds (Nadeau and Bengio, Machine Learning 52 (2003) 239, section 3).

Events of both samples at the same position share a fold: a generated event that was asked for with
the conditions of a true one would otherwise be recognised, with the wrong label, by these conditions.

Judges of different :data:`VERSION` see different things, so that their areas are not to be compared. The
first one had 60 trees of 15 leaves at a rate of 0.1.

Weights enter the training and the curves, both samples with the same sum; :math:`N` and :math:`M` are then
effective numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import balanced, unequal, worth

FOLDS = 5
SHARED = math.sqrt(1 + FOLDS / (FOLDS - 1))
"""Growth of the error because folds share training events."""
MIN_EVENTS = 50
"""Events per class below which no fold can be trained."""
VERSION = 2
"""Of the trees, which ``classifier/<judge>/version`` tells; areas of two versions are not comparable."""
ITERATIONS = 120
"""Trees."""
RATE = 9.6
"""Learning rate times the number of trees."""
BINS = 127
"""Values of a feature that the trees tell apart."""
MOST_EVENTS = 20_000
"""Events per class that the judge sees at most, the first ones."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Area under the ROC curve and its statistical error, that of truth against truth as ``null``."""

    auc: float
    error: float
    null: float


def boosted(
    reference: Tensor,
    generated: Tensor,
    reference_weight: Tensor | None = None,
    generated_weight: Tensor | None = None,
    seed: int = 0,
    iterations: int = ITERATIONS,
    places: Sequence[Tensor | None] = (None, None),
) -> Score:
    """Score generated events against the truth.

    Args:
        reference: High-level features of the truth ``(N, F)``.
        generated: The same of generated events ``(M, F)``.
        reference_weight: Event weights ``(N,)``, above 0, or None.
        generated_weight: Event weights ``(M,)``, above 0, or None.
        seed: Seed of the folds; the result is a function of the data and the seed.
        iterations: Trees.
        places: Position of each event of either sample where some were left out; events at the same position
            share a fold.

    Raises:
        UserError: With fewer than 50 events in a sample.
    """
    if min(len(reference), len(generated)) < MIN_EVENTS:
        sizes = f"{len(reference)} true and {len(generated)} generated"
        raise UserError(
            f"the boosted judge needs at least {MIN_EVENTS} events of each kind, got {sizes}"
        )
    x = np.concatenate([array(generated), array(reference)])
    y = np.concatenate([np.zeros(len(generated)), np.ones(len(reference))])
    rows = [None if w is None else unequal(w) for w in (generated_weight, reference_weight)]
    weight = _weights((len(generated), len(reference)), rows)
    if weight is not None:
        x = ranked(x)
    fold = folds(
        [
            np.arange(len(sample)) if place is None else place.numpy()
            for sample, place in ((generated, places[1]), (reference, places[0]))
        ],
        seed,
    )
    areas = []
    for number in range(FOLDS):
        inside, outside = fold == number, fold != number
        trees = model(iterations, seed)
        trees.fit(x[outside], y[outside], sample_weight=None if weight is None else weight[outside])
        scores = trees.decision_function(x[inside])
        areas.append(
            float(
                roc_auc_score(
                    y[inside], scores, sample_weight=None if weight is None else weight[inside]
                )
            )
        )
    auc = float(np.mean(areas))
    n, m = worth(len(reference), rows[1]), worth(len(generated), rows[0])
    return Score(auc, hanley_mcneil(auc, n, m) * SHARED, hanley_mcneil(0.5, n, m) * SHARED)


@score_constructor
def boosted_score(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """``classifier/boosted/auc`` from the first 20,000 events of each sample.

    Raises:
        NotRun: With fewer than 50 events in a sample.
    """
    pair = [item.between(0, min(len(item), MOST_EVENTS)) for item in (reference, generated)]
    first, second = (item.sample.features for item in pair)
    return judge_score("boosted", (first, second), (pair[0], pair[1]), seed, ITERATIONS)


def judge_score(
    name: str,
    inputs: tuple[Tensor, Tensor],
    pair: tuple[Judged, Judged],
    seed: int,
    iterations: int,
) -> dict[str, Figure]:
    """``classifier/<name>/auc`` and ``classifier/<name>/version``.

    Args:
        name: Name of the judge.
        inputs: What it sees of the true and of the generated events, ``(N, F)`` and ``(M, F)``.
        pair: These events.
        seed: Seed of the folds.
        iterations: Trees.

    Raises:
        NotRun: With fewer than 50 events in a sample.
    """
    if min(map(len, inputs)) < MIN_EVENTS:
        raise NotRun(f"fewer than {MIN_EVENTS} events of each kind")
    first, second = (item.sample for item in pair)
    places = first.position, second.position
    score = boosted(*inputs, first.weight, second.weight, seed, iterations, places)
    return {
        f"classifier/{name}/auc": Figure(score.auc, score.error, floor=0.5, null=score.null),
        f"classifier/{name}/version": Figure(float(VERSION), floor=math.nan),
    }


def hanley_mcneil(auc: float, n: float, m: float) -> float:
    """Standard error of an area under the ROC curve from ``n`` and ``m`` events."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)
    return math.sqrt(max(0.0, variance) / (n * m))


def model(iterations: int, seed: int) -> HistGradientBoostingClassifier:
    """The trees, before they are fitted."""
    # many small steps of trees that see half of the features find correlations which few large steps miss;
    # few values per feature and small trees keep the time at 1.6 times that of the first version
    return HistGradientBoostingClassifier(
        max_iter=iterations,
        learning_rate=RATE / iterations,
        max_leaf_nodes=15,
        max_features=0.5,
        min_samples_leaf=40,
        max_bins=BINS,
        early_stopping=False,
        random_state=seed,
    )


def _weights(sizes: Sequence[int], weights: Sequence[Tensor | None]) -> Array | None:
    """All weights in a row; None where those of each sample are equal."""
    found = balanced(sizes, weights)
    return None if found is None else np.concatenate([part.numpy() for part in found])


def ranked(x: Array) -> Array:
    """Features as numbers of quantile bins, as many as the trees see: scikit-learn's own bins of weighted
    features take it ten times as long as the trees.
    """
    levels = np.linspace(0, 1, BINS + 1)[1:-1]
    found = np.full_like(x, np.nan)
    for column, ranks in zip(x.T, found.T, strict=True):
        known = ~np.isnan(column)
        if known.any():
            edges = np.unique(np.quantile(column[known], levels, method="inverted_cdf"))
            ranks[known] = np.searchsorted(edges, column[known], side="left")
    return found


def folds(places: Sequence[NDArray[np.int64]], seed: int) -> NDArray[np.int64]:
    """Fold of each generated and each true event, the same at the same position."""
    rng = np.random.default_rng(seed)
    fold = np.arange(max(int(place.max()) for place in places) + 1) % FOLDS
    shared = rng.permutation(fold)
    return np.concatenate([shared[place] for place in places])


def array(features: Tensor) -> Array:
    """Features as trees take them, NaN where they are not finite."""
    values = features.detach().cpu().double().numpy()
    return np.where(np.isfinite(values), values, np.nan)
