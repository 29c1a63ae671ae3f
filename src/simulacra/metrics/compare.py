r"""Every observable figure of two samples, with its statistical error.

Errors come from a Poisson bootstrap of whole events: replica :math:`r` multiplies the weight of
each event by a Poisson(1) number, the same for all observables, so that the error of a mean over
observables keeps their correlation. Response and resolution have the textbook errors
:math:`\sigma/\sqrt n` and :math:`\sqrt{(\mu_4 - \sigma^4)/(4\sigma^2 n)}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.metrics import separation as triangular
from simulacra.metrics import wasserstein as w1
from simulacra.metrics.response import MIN_EVENTS, deviations, ratios, response_bins
from simulacra.metrics.sample import Column, Sample
from simulacra.physics.base import Axis, ObservableSet, ResponseBin

BIG_COLUMN = 4_000_000
"""Values times replicas above which a column gets fewer replicas (but at least four)."""
CORE_OF_PROFILE = 0.01
"""Share of the content above which a bin of a profile enters its largest deviation."""


@dataclass(frozen=True)
class Binning:
    """What is fixed by the truth before anything is compared.

    Args:
        axes: Axis of each observable.
        edges: Bin edges of each observable.
        scales: Standard deviation of each observable.
        response: Response bins and the edges of their histograms.
        core: Share of events in the interval of response and resolution.
    """

    axes: dict[str, Axis]
    edges: dict[str, Tensor]
    scales: dict[str, float]
    response: tuple[tuple[ResponseBin, Tensor], ...]
    core: float

    @classmethod
    def of(cls, reference: Sample, observables: ObservableSet) -> Binning:
        """Binning from the reference sample."""
        axes = observables.axes()
        edges = {
            name: triangular.resolve(axes[name], column.values)
            for name, column in reference.columns.items()
        }
        scales = {name: _scale(column.values) for name, column in reference.columns.items()}
        return cls(axes, edges, scales, response_bins(reference, observables), observables.core)


@dataclass(frozen=True)
class Comparison:
    """Figures by key (without prefix) and their errors; a figure that is undefined is absent."""

    values: dict[str, float]
    errors: dict[str, float]


def compare(
    reference: Sample,
    generated: Sample,
    binning: Binning,
    replicas: int = 0,
    generator: torch.Generator | None = None,
) -> Comparison:
    """All figures of observables.

    Args:
        reference: The truth.
        generated: What is judged.
        binning: From the truth.
        replicas: Bootstrap replicas; 0 leaves out their errors.
        generator: Randomness of the bootstrap.

    Returns:
        ``separation/<name>``, ``w1/<name>`` (unit of the observable), ``w1_mean`` (mean of W1 over
        the truth's standard deviation), ``profile/<name>`` (largest relative deviation of the mean
        profile), ``correlation``, ``response/<bin>`` and ``resolution/<bin>`` (relative deviations
        from the truth) and ``separation/response/<bin>``.
    """
    weights = (
        _replicas(reference.weight, replicas, generator),
        _replicas(generated.weight, replicas, generator),
    )
    found: dict[str, Tensor] = {}
    standardised = []
    for name, edges in binning.edges.items():
        pair = reference.columns[name], generated.columns[name]
        if not pair[0].n:
            continue
        found[f"separation/{name}"] = _separations(*pair, edges, *weights)
        distances = _distances(*pair, *weights)
        found[f"w1/{name}"] = distances
        if pair[1].n:
            standardised.append(_fill(distances, replicas + 1) / binning.scales[name])
    if standardised:
        found["w1_mean"] = torch.stack(standardised).mean(0)
    for name, profile in reference.profiles.items():
        found[f"profile/{name}"] = _deviation(
            profile.values, generated.profiles[name].values, *weights
        )
    for first in list(reference.profiles)[:1]:
        contents = reference.profiles[first].values, generated.profiles[first].values
        found["correlation"] = _decorrelation(*contents, *weights)
    values, errors = deviations(
        reference, generated, [item for item, _ in binning.response], binning.core
    )
    found |= _response_shapes(reference, generated, binning, *weights)
    for key, replica in found.items():
        values[key] = float(replica[0])
        if len(replica) > 1:
            errors[key] = float(replica[1:].std())
    finite = {key: value for key, value in values.items() if math.isfinite(value)}
    return Comparison(
        finite, {key: errors[key] for key in finite if math.isfinite(errors.get(key, math.nan))}
    )


def _replicas(weight: Tensor, replicas: int, generator: torch.Generator | None) -> Tensor:
    """The weights, then their replicas: ``(1 + replicas, N)``."""
    counts = torch.poisson(
        torch.ones(replicas, len(weight), dtype=torch.float64), generator=generator
    )
    return torch.cat([weight[None], weight * counts])


def _rows(column: Column, weights: Tensor) -> Tensor:
    """Fewer replicas for columns of millions of values."""
    return weights[: max(5, BIG_COLUMN // max(1, column.n))] if len(weights) > 5 else weights


def _separations(reference: Column, generated: Column, edges: Tensor, *weights: Tensor) -> Tensor:
    if not generated.n:
        return torch.ones(1, dtype=torch.float64)  # disjoint: it is never defined
    counts = []
    for column, rows in zip((reference, generated), weights, strict=True):
        index = triangular.bin_index(column.values, edges)
        found = [
            torch.bincount(index, row[column.event], minlength=len(edges) + 1)
            for row in _rows(column, rows)
        ]
        counts.append(torch.stack(found)[:, 1:-1])
    n = min(len(part) for part in counts)
    return triangular.separation(counts[0][:n], counts[1][:n])


def _distances(reference: Column, generated: Column, *weights: Tensor) -> Tensor:
    if not generated.n:
        return torch.full((1,), torch.nan, dtype=torch.float64)
    order, steps = w1.union(reference.values, generated.values)
    rows = zip(_rows(reference, weights[0]), _rows(generated, weights[1]), strict=False)
    return torch.stack(
        [w1.distance(p[reference.event], q[generated.event], order, steps) for p, q in rows]
    )


def _fill(replicas: Tensor, wanted: int) -> Tensor:
    """Repeat replicas in turn (keeping the value in front) where a big column has fewer of them."""
    if len(replicas) >= wanted:
        return replicas
    rest = replicas[1:] if len(replicas) > 1 else replicas
    repeats = -(-(wanted - 1) // len(rest))
    return torch.cat([replicas[:1], rest.repeat(repeats)[: wanted - 1]])


def _deviation(reference: Tensor, generated: Tensor, *weights: Tensor) -> Tensor:
    """Largest relative deviation of the mean profile ``(1 + R,)`` over the bins that hold a share
    of the content.
    """
    p, q = (
        rows @ values / rows.sum(1, keepdim=True)
        for rows, values in zip(weights, (reference, generated), strict=True)
    )
    wanted = p[0] > CORE_OF_PROFILE * p[0].sum()
    if not bool(wanted.any()):
        return torch.full((1,), torch.nan, dtype=torch.float64)
    return (q[:, wanted] / p[:, wanted] - 1).abs().amax(1)


def _decorrelation(reference: Tensor, generated: Tensor, *weights: Tensor) -> Tensor:
    """Mean absolute difference ``(1 + R,)`` of the Pearson correlations between different bins of
    a profile.
    """
    if reference.shape[1] < 2:
        return torch.full((1,), torch.nan, dtype=torch.float64)
    rows, cols = torch.triu_indices(reference.shape[1], reference.shape[1], offset=1)
    differences = []
    for p, q in zip(*weights, strict=True):
        difference = pearson(reference, p) - pearson(generated, q)
        differences.append(difference[rows, cols].abs().mean())
    return torch.stack(differences)


def pearson(values: Tensor, weight: Tensor) -> Tensor:
    """Correlation matrix of weighted columns ``(N, n)``, 0 for those that never vary."""
    share = (weight / weight.sum())[:, None]
    centred = (values - (share * values).sum(0)) * share.sqrt()
    scale = centred.norm(dim=0)
    unit = centred / torch.where(scale > 0, scale, torch.ones_like(scale))
    return unit.T @ unit


def _scale(values: Tensor) -> float:
    """Standard deviation, or for a constant its size, or 1."""
    if not len(values):
        return 1.0
    deviation = float(values.std(unbiased=False))
    largest = float(values.abs().max())
    return deviation if deviation > 1e-12 * largest else (largest or 1.0)


def _response_shapes(
    reference: Sample, generated: Sample, binning: Binning, *weights: Tensor
) -> dict[str, Tensor]:
    found = {}
    for item, edges in binning.response:
        pair = ratios(reference, item), ratios(generated, item)
        if min(column.n for column in pair) >= MIN_EVENTS:
            found[f"separation/response/{item.name}"] = _separations(*pair, edges, *weights)
    return found
