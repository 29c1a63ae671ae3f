r"""Every observable figure of two samples, with its statistical error.

Errors come from a Poisson bootstrap of whole events: replica :math:`r` multiplies the weight of
each event by a Poisson(1) number, the same for all observables, so that the error of a mean over
observables keeps their correlation. Response and resolution have the textbook errors
:math:`\sigma/\sqrt n` and :math:`\sqrt{(\mu_4 - \sigma^4)/(4\sigma^2 n)}`, with the effective :math:`n`.

Where events have negative weights, distances and mean profiles remain; separation powers, correlations,
response and resolution take no negative weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.metrics.distances import separation as triangular
from simulacra.metrics.distances import wasserstein as w1
from simulacra.metrics.engine.binning import Binned, Binning, Counts
from simulacra.metrics.engine.response import MIN_EVENTS, deviations, ratios
from simulacra.metrics.engine.sample import Column, Sample
from simulacra.physics.correlation import pearson

BIG_COLUMN = 4_000_000
"""Values times replicas above which a distance gets fewer replicas (but at least four)."""
MOST_VALUES = 2_000_000
"""Values of one observable and sample between which W1 is measured, at most; of more, every k-th."""
CORE_OF_PROFILE = 0.01
"""Share of the content above which a bin of a profile enters its largest deviation."""
DECIDES = 10.0
"""By what factor the mean W1 falls without an observable that decides it alone."""


@dataclass(frozen=True)
class Comparison:
    """Figures by key (without prefix) and their errors; a figure that is undefined is absent.

    Args:
        values: The figures.
        errors: Their errors.
        worst: The observable that decides the mean W1 alone, and the mean without it, or None.
    """

    values: dict[str, float]
    errors: dict[str, float]
    worst: tuple[str, float] | None = None


def compare(
    reference: Binned,
    generated: Binned,
    replicas: int = 0,
    generator: torch.Generator | None = None,
) -> Comparison:
    """All figures of observables.

    Args:
        reference: The truth.
        generated: What is judged, binned as the truth.
        replicas: Bootstrap replicas; 0 leaves out their errors.
        generator: Randomness of the bootstrap.

    Returns:
        ``separation/<name>``, ``w1/<name>`` (unit of the observable), ``w1_mean`` (mean of W1 over
        the truth's standard deviation), ``profile/<name>`` (largest relative deviation of the mean
        profile), ``correlation``, ``response/<bin>`` and ``resolution/<bin>`` (relative deviations
        from the truth) and ``separation/response/<bin>``.
    """
    binning, samples = reference.binning, (reference.sample, generated.sample)
    weights = [_replicas(sample.weight, replicas, generator) for sample in samples]
    positive = not any(map(has_negative, samples))
    found: dict[str, Tensor] = {}
    standardised: dict[str, Tensor] = {}
    for name in binning.edges:
        pair = [sample.columns[name] for sample in samples]
        if not pair[0].n:
            continue
        if positive:
            counts = reference.counts(name), generated.counts(name)
            found[f"separation/{name}"] = _separations(*counts, *weights)
        distances = _distances(pair[0], pair[1], *weights)
        found[f"w1/{name}"] = distances
        if pair[1].n:
            standardised[name] = _fill(distances, replicas + 1) / binning.scales[name]
    for name, members in binning.groups.items() if positive else ():
        keys = [
            f"separation/{item}" for item in members
        ]  # one that the truth never has says nothing
        parts = [_fill(found[key], replicas + 1) for key in keys if key in found]
        if parts:
            found[f"separation_mean/{name}"] = torch.stack(parts).mean(0)
    if standardised:
        found["w1_mean"] = torch.stack(list(standardised.values())).mean(0)
    found |= _profiles(*samples, *weights)
    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    if positive:
        found |= _correlations(*samples, *weights)
        bins = [item for item, _ in binning.response]
        values, errors = deviations(*samples, bins, binning.core)
        found |= _response_shapes(*samples, binning, *weights)
    for key, replica in found.items():
        values[key] = float(replica[0])
        if len(replica) > 1:
            errors[key] = float(replica[1:].std())
    finite = {key: value for key, value in values.items() if math.isfinite(value)}
    return Comparison(
        finite,
        {key: errors[key] for key in finite if math.isfinite(errors.get(key, math.nan))},
        _worst({name: float(replica[0]) for name, replica in standardised.items()}),
    )


def _worst(distances: dict[str, float]) -> tuple[str, float] | None:
    """The largest of several distances, if their mean is ten times lower without it, and that mean."""
    if len(distances) < 2:
        return None
    name = max(distances, key=lambda item: distances[item])
    rest = [value for item, value in distances.items() if item != name]
    mean = sum(rest) / len(rest)
    return (name, mean) if sum(distances.values()) / len(distances) > DECIDES * mean else None


def has_negative(sample: Sample) -> bool:
    """Whether some events have negative weights."""
    return bool((sample.weight < 0).any())


def _profiles(reference: Sample, generated: Sample, *weights: Tensor) -> dict[str, Tensor]:
    """Deviation of each mean profile."""
    return {
        f"profile/{name}": _deviation(profile.values, generated.profiles[name].values, *weights)
        for name, profile in reference.profiles.items()
    }


def _correlations(reference: Sample, generated: Sample, *weights: Tensor) -> dict[str, Tensor]:
    """Deviation of the correlations within the first profile."""
    for name, profile in reference.profiles.items():
        pair = profile.values, generated.profiles[name].values
        return {"correlation": _decorrelation(*pair, *weights)}
    return {}


def _replicas(weight: Tensor, replicas: int, generator: torch.Generator | None) -> Tensor:
    """The weights, then their replicas: ``(1 + replicas, N)``."""
    counts = torch.poisson(
        torch.ones(replicas, len(weight), dtype=torch.float64), generator=generator
    )
    return torch.cat([weight[None], weight * counts])


def _separations(reference: Counts, generated: Counts, *weights: Tensor) -> Tensor:
    if not generated.values:
        return torch.ones(1, dtype=torch.float64)  # disjoint: it is never defined
    counts = [
        part.of(rows)[:, 1:-1] for part, rows in zip((reference, generated), weights, strict=True)
    ]
    return triangular.separation_of_counts(*counts)


def _distances(reference: Column, generated: Column, *weights: Tensor) -> Tensor:
    if not generated.n:
        return torch.full((1,), torch.nan, dtype=torch.float64)
    (first, p_event), (second, q_event) = map(thin, (reference, generated))
    sizes = len(reference.counts), len(generated.counts)
    shared = w1.Union.of(first, second, (p_event, q_event), sizes)
    wanted = max(5, BIG_COLUMN // len(shared.owner))
    rows = zip(*(weight[:wanted] for weight in weights), strict=True)
    return torch.stack([shared.distance(p, q) for p, q in rows])


def thin(column: Column) -> tuple[Tensor, Tensor]:
    """Values and their events; of more than :data:`MOST_VALUES` every k-th."""
    step = -(-column.n // MOST_VALUES) or 1
    return column.values[::step], column.event[::step]


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


def _response_shapes(
    reference: Sample, generated: Sample, binning: Binning, *weights: Tensor
) -> dict[str, Tensor]:
    found = {}
    for item, edges in binning.response:
        pair = ratios(reference, item), ratios(generated, item)
        if min(column.n for column in pair) >= MIN_EVENTS:
            first, second = (Counts(column, edges) for column in pair)
            found[f"separation/response/{item.name}"] = _separations(first, second, *weights)
    return found
