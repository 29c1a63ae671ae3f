"""Figures of two samples of numbers, for notebooks and code of one's own.

Each function takes the truth first and generated events second: lists, numpy arrays or tensors of one value
``(events,)`` or several features ``(events, features)`` per event, raw values and no counts. It returns a
:class:`Measurement`, the figure with its statistical error. A whole evaluation of events of a data set, with
floors and figures of every observable, is :func:`simulacra.evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.numbers import numbers
from simulacra.metrics.classifiers import boosted as trees
from simulacra.metrics.distances import frechet, kernel, wasserstein
from simulacra.metrics.distances import prdc as balls
from simulacra.metrics.distances.separation import separation_of_counts
from simulacra.metrics.engine.bins import bin_index
from simulacra.metrics.engine.columns import poisson_weights, spread
from simulacra.metrics.engine.score import Figure

REPLICAS = 50
"""Bootstrap replicas behind the errors of :func:`w1` and :func:`separation`."""
FEWEST = 20
"""Events below which a distance of distributions has no error that one could trust."""


class Measurement(NamedTuple):
    """A figure with its statistical error.

    Attributes:
        value: The figure.
        error: One standard deviation; None where it is not known.
    """

    value: float
    error: float | None


def fpd(
    reference: object,
    generated: object,
    *,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    seed: int = 42,
) -> Measurement:
    """Fréchet physics distance, extrapolated to infinitely many events; see
    :func:`simulacra.metrics.distances.frechet.fpd`.

    Args:
        reference: Features of the truth; they set the scale.
        generated: The same of generated events.
        min_samples: Events per draw at the first point of the extrapolation.
        max_samples: Events per draw at the last.
        seed: Seed of the draws.

    Raises:
        UserError: For anything but two samples of the same features, NaN, or too few events.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> truth, made = rng.normal(size=(500, 2)), rng.normal(0.5, 1, size=(500, 2))
        >>> found = fpd(truth, made, min_samples=200, max_samples=400)
        >>> bool(found.value > fpd(truth, truth, min_samples=200, max_samples=400).value)
        True
    """
    first, second = _pair(reference, generated, FEWEST)
    if not 2 <= min_samples < max_samples:
        raise UserError(
            "the draws grow from at least two events on, got "
            f"min_samples={min_samples}, max_samples={max_samples}"
        )
    return _measured(
        frechet.fpd(first, second, min_samples=min_samples, max_samples=max_samples, seed=seed)
    )


def kpd(
    reference: object, generated: object, *, batch_size: int = 5000, seed: int = 42
) -> Measurement:
    """Kernel physics distance; see :func:`simulacra.metrics.distances.kernel.kpd`.

    Args:
        reference: Features of the truth; they set the scale.
        generated: The same of generated events.
        batch_size: Events drawn from each sample per batch.
        seed: Seed of the draws.

    Raises:
        UserError: As :func:`fpd`.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> truth, made = rng.normal(size=(500, 2)), rng.normal(0.5, 1, size=(500, 2))
        >>> bool(kpd(truth, made, batch_size=300).value > 0)
        True
    """
    first, second = _pair(reference, generated, FEWEST)
    if batch_size < 2:
        raise UserError(f"a batch needs at least two events, got batch_size={batch_size}")
    return _measured(kernel.kpd(first, second, batch_size=batch_size, seed=seed))


def w1(reference: object, generated: object, *, seed: int = 0) -> Measurement:
    """Exact one-dimensional Wasserstein distance, in the unit of the values; of several features the mean.

    The error is that of a bootstrap of whole events.

    Args:
        reference: Values of the truth.
        generated: Values of generated events.
        seed: Seed of the bootstrap.

    Raises:
        UserError: As :func:`fpd`.

    Examples:
        >>> w1([0.0, 1.0, 3.0], [5.0, 6.0, 8.0]).value
        5.0
    """
    first, second = _pair(reference, generated, 2)

    def distance(values: Tensor, others: Tensor, weight: Tensor, other: Tensor) -> Tensor:
        return wasserstein.wasserstein(values, others, weight, other)

    return _bootstrapped(first, second, distance, seed)


def separation(
    reference: object,
    generated: object,
    *,
    bins: int | Sequence[float] | NDArray[np.float64] = 50,
    seed: int = 0,
) -> Measurement:
    """Separation power of two histograms, 0 for equal and 1 for disjoint ones; of several features the mean.

    Values outside the bins are left out, as in the public evaluations. The error is that of a bootstrap of
    whole events. Two samples of one distribution do not score 0 but about ``(bins - 1) / 4 (1/N + 1/M)``.

    Args:
        reference: Values of the truth.
        generated: Values of generated events.
        bins: Edges, or a number of even bins over the range of the truth.
        seed: Seed of the bootstrap.

    Raises:
        UserError: As :func:`fpd`, or if the bins are none.

    Examples:
        >>> separation([0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0], bins=2).value
        0.25
    """
    first, second = _pair(reference, generated, 2)

    def distance(values: Tensor, others: Tensor, weight: Tensor, other: Tensor) -> Tensor:
        edges = _edges(bins, values)
        counts = [_counts(x, w, edges) for x, w in ((values, weight), (others, other))]
        found = separation_of_counts(*counts)
        return torch.where((counts[0].sum(-1) > 0) & (counts[1].sum(-1) == 0), 1.0, found)

    return _bootstrapped(first, second, distance, seed)


def prdc(
    reference: object, generated: object, *, k: int = balls.NEAREST, normalise: bool = True
) -> dict[str, Measurement]:
    """Precision, recall, density and coverage; see :func:`simulacra.metrics.distances.prdc.prdc`.

    Args:
        reference: Features of the truth.
        generated: The same of generated events.
        k: Which neighbour in its own sample ends the ball around an event.
        normalise: Whether features are standardised by the truth first.

    Returns:
        Figures by name.

    Raises:
        UserError: As :func:`fpd`, or if there are not more than ``k`` events.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> sorted(prdc(rng.normal(size=(50, 2)), rng.normal(size=(50, 2))))
        ['coverage', 'density', 'precision', 'recall']
    """
    if k < 1:
        raise UserError(f"the k-th neighbour is counted from 1, got k={k}")
    first, second = _pair(reference, generated, 2)
    if normalise:
        first, second = balls.standardised(first, first), balls.standardised(second, first)
    return {name: _measured(figure) for name, figure in balls.prdc(first, second, k).items()}


def boosted(reference: object, generated: object, *, seed: int = 0) -> Measurement:
    """Area under the ROC curve of boosted trees that tell the samples apart, out of fold: 0.5 where they
    cannot; see :func:`simulacra.metrics.classifiers.boosted.boosted`.

    Args:
        reference: Features of the truth.
        generated: The same of generated events.
        seed: Seed of folds and trees.

    Raises:
        UserError: As :func:`fpd`; each sample needs 50 events.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> bool(boosted(rng.normal(size=100), rng.normal(9, 1, size=100)).value > 0.9)
        True
    """
    found = trees.boosted(*_pair(reference, generated, trees.MIN_EVENTS), seed=seed)
    return Measurement(found.auc, found.error)


def _measured(figure: Figure) -> Measurement:
    return Measurement(figure.value, figure.error)


def _pair(reference: object, generated: object, fewest: int) -> tuple[Tensor, Tensor]:
    """Both samples, float64 ``(events, features)``, checked."""
    first, second = _rows(reference, "reference", fewest), _rows(generated, "generated", fewest)
    if first.shape[1] != second.shape[1]:
        raise UserError(
            f"both samples need the same features, got {first.shape[1]} and {second.shape[1]} of them"
        )
    return first, second


def _rows(sample: object, name: str, fewest: int) -> Tensor:
    found = numbers(sample, f"the {name} sample").double()
    if found.ndim not in (1, 2) or (found.ndim == 2 and not found.shape[1]):
        raise UserError(
            f"the {name} sample has the shape {tuple(found.shape)}, expected (events,) or (events, features)"
        )
    if len(found) < fewest:
        raise UserError(
            f"the {name} sample has too few events: at least {fewest} are needed, got {len(found)}"
        )
    wrong = int((~torch.isfinite(found)).sum())
    if wrong:
        raise UserError(f"the {name} sample holds {wrong} NaN or infinite values: leave them out")
    return found.reshape(len(found), -1)


Distance = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of values ``(N,)`` and ``(M,)`` with weights ``(R, N)`` and ``(R, M)``: figures ``(R,)``."""


def _bootstrapped(first: Tensor, second: Tensor, distance: Distance, seed: int) -> Measurement:
    """The mean of a distance over features; whole events are drawn for its error."""
    weights = [
        torch.cat([ones := torch.ones(1, len(x), dtype=torch.float64), _drawn(ones[0], seed + i)])
        for i, x in enumerate((first, second))
    ]
    found = torch.stack([
        distance(x.contiguous(), y.contiguous(), *weights)
        for x, y in zip(first.T, second.T, strict=True)
    ]).mean(0)  # (1 + R,)  # fmt: skip
    return Measurement(float(found[0]), spread(found[1:]))


def _drawn(ones: Tensor, seed: int) -> Tensor:
    """Weights of replicas ``(R, N)``; one that draws no event at all is drawn as the sample."""
    found = poisson_weights(ones, REPLICAS, seed)
    return torch.where(found.sum(1, keepdim=True) > 0, found, 1.0)


def _edges(bins: Any, truth: Tensor) -> Tensor:
    if isinstance(bins, (int, np.integer)):
        if bins < 1:
            raise UserError(f"there must be at least one bin, got bins={bins}")
        return torch.from_numpy(np.histogram_bin_edges(truth.numpy(), bins))
    edges = numbers(bins, "the bins").double()
    if edges.ndim != 1 or len(edges) < 2 or not bool((edges.diff() > 0).all()):
        raise UserError("the bins are a number, or at least two edges in rising order")
    return edges


def _counts(values: Tensor, weights: Tensor, edges: Tensor) -> Tensor:
    """Weighted counts inside the range, ``(R, bins)``."""
    index = bin_index(values, edges)
    size = len(edges) + 1
    rows = [torch.bincount(index, row, minlength=size) for row in weights]
    return torch.stack(rows)[:, 1:-1]
