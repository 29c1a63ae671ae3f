"""Turn two reduced samples into what is drawn: histograms, mean profiles and images, response
points, correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from simulacra.metrics.engine.agreement import Agreement, of_events, of_shares
from simulacra.metrics.engine.band import Band
from simulacra.metrics.engine.binning import Binned, Counts
from simulacra.metrics.engine.compare import has_negative
from simulacra.metrics.engine.response import ratios, response_moments
from simulacra.metrics.engine.result import (
    Array,
    Correlation,
    Histogram,
    ProfilePair,
    ResponsePoint,
)
from simulacra.metrics.engine.sample import Column, Sample
from simulacra.metrics.engine.weighted import effective, mean, unequal
from simulacra.physics.base import Axis, Image, ObservableSet
from simulacra.physics.correlation import PEARSON, Coefficient

CORRELATED = 60
"""Scalars in the correlation matrix, at most."""


def histograms(
    reference: Binned, generated: Binned, networks: Sequence[Binned] = ()
) -> dict[str, Histogram]:
    """Histograms of all observables; events of several networks give each a band."""
    return {
        name: histogram((reference, generated), name, edges, networks)
        for name, edges in reference.binning.edges.items()
    }


def profiles(
    reference: Sample, generated: Sample, networks: Sequence[Sample] = ()
) -> dict[str, ProfilePair]:
    """Mean profiles with standard errors; events of several networks give each a band."""
    found = {}
    for name, profile in reference.profiles.items():
        other = generated.profiles[name].values
        p, q = _mean(profile.values, reference.weight), _mean(other, generated.weight)
        several = [_mean(item.profiles[name].values, item.weight) for item in networks]
        edges = profile.edges.double().numpy()
        found[name] = ProfilePair(
            profile.axis,
            profile.label,
            profile.unit,
            edges,
            *p,
            *q,
            band=Band.of(*zip(*several, strict=True)) if several else None,
            agreement=_means_agree((profile.values, other), (reference, generated)),
            names=profile.names,
        )
    return found


def images(reference: Sample, generated: Sample) -> dict[str, tuple[Image, Image]]:
    """Mean images."""
    found = {}
    for name, image in reference.images.items():
        other = generated.images[name]
        found[name] = (
            replace(image, values=image.values.double() / reference.weight.sum()),
            replace(other, values=other.values.double() / generated.weight.sum()),
        )
    return found


def response_points(reference: Binned, generated: Binned, ratio: str) -> tuple[ResponsePoint, ...]:
    """Response per bin, where both samples have enough events; ``ratio`` is the text of seen over asked."""
    points, pair = [], (reference, generated)
    if any(has_negative(part.sample) for part in pair):
        return ()
    for item, edges in reference.binning.response:
        p, q = (response_moments(part.sample, item, part.binning.core) for part in pair)
        if reference.sample.response is None or p is None or q is None:
            continue
        columns = [ratios(part.sample, item) for part in pair]
        counts = [Counts(column, edges) for column in columns]
        asked = reference.sample.response[0]
        inside = (asked >= item.low) & (asked < item.high)
        middle = float(mean(asked[inside], unequal(reference.sample.weight[inside])))
        histogram = _drawn(pair, columns, counts, item.axis or Axis(ratio), edges)
        points.append(ResponsePoint(item.name, middle, p, q, histogram))
    return tuple(points)


def correlations(
    reference: Sample, generated: Sample, observables: ObservableSet
) -> Correlation | None:
    """Correlations between the bins of the first profile (layers, sensors), those that the observables ask
    for, or Pearson's of scalars where there is none; None also where there are negative weights.
    """
    pair = reference, generated
    if any(map(has_negative, pair)):
        return None
    for name, profile in reference.profiles.items():
        names = profile.names or tuple(f"{edge:g}" for edge in profile.edges[:-1].tolist())
        label = (
            f"{profile.axis.label} [{profile.axis.unit}]"
            if profile.axis.unit
            else profile.axis.label
        )
        columns = [sample.profiles[name].values for sample in pair]
        return _correlation(label, names, columns, pair, observables.coefficient)
    scalars = [
        name for name, column in reference.columns.items()
        if column.scalar and not column.undefined and not generated.columns[name].undefined
    ][:CORRELATED]  # fmt: skip
    if len(scalars) < 2:
        return None
    stacks = [torch.stack([sample.columns[name].values for name in scalars], 1) for sample in pair]
    axes = observables.axes()
    return _correlation("", tuple(axes[name].label for name in scalars), stacks, pair, PEARSON)


def _correlation(
    label: str,
    names: tuple[str, ...],
    columns: Sequence[Tensor],
    samples: tuple[Sample, Sample],
    coefficient: Coefficient,
) -> Correlation | None:
    """None where a value is not finite, as in :func:`~simulacra.metrics.engine.compare.compare`."""
    if not all(bool(values.isfinite().all()) for values in columns):
        return None
    first, second = (
        coefficient.matrix(values, sample.weight).numpy()
        for values, sample in zip(columns, samples, strict=True)
    )
    return Correlation(label, names, first, second, coefficient.name, coefficient.key)


def _mean(values: Tensor, weight: Tensor) -> tuple[Array, Array]:
    total = weight.sum()
    mean = weight @ values / total
    variance = weight.square() @ (values - mean).square() / total.square()
    return mean.numpy(), variance.sqrt().numpy()


def histogram(
    pair: tuple[Binned, Binned], name: str, edges: Tensor, networks: Sequence[Binned] = ()
) -> Histogram:
    """Histogram of one observable of the truth and of generated events; see :func:`histograms`."""
    columns = [part.sample.columns[name] for part in pair]
    counts = [part.counts(name) for part in pair]
    drawn = _drawn(pair, columns, counts, pair[0].binning.axes[name], edges)
    several = [_counted(item, item.counts(name)) for item in networks]
    band = Band.counted([(n[1:-1], v[1:-1]) for n, v in several]) if several else None
    return replace(drawn, band=band)


def _counted(binned: Binned, counts: Counts) -> tuple[Array, Array]:
    """Weighted counts and their squared errors ``(bins + 2,)``."""
    weight = binned.sample.weight
    return counts.of(weight[None])[0].numpy(), counts.squares(weight).numpy()


def _drawn(
    pair: tuple[Binned, Binned],
    columns: list[Column],
    counts: list[Counts],
    axis: Axis,
    edges: Tensor,
) -> Histogram:
    found = [_counted(binned, count) for binned, count in zip(pair, counts, strict=True)]
    outside = [(_share(item, 0), _share(item, -1)) for item, _ in found]
    undefined = [
        float(binned.sample.weight[column.counts == 0].sum()) if column.undefined else 0.0
        for binned, column in zip(pair, columns, strict=True)
    ]
    (p, p_variance), (q, q_variance) = ((n[1:-1], variance[1:-1]) for n, variance in found)
    agreement = None
    if not any(has_negative(binned.sample) for binned in pair):
        agreement = (
            of_shares((p, q), (p_variance, q_variance))
            if all(count.single for count in counts)
            else _spectra_agree(pair, counts, (p, q))
        )
    return Histogram(
        axis,
        np.asarray(edges),
        p,
        q,
        (outside[0], outside[1]),
        (undefined[0], undefined[1]),
        (p_variance, q_variance),
        agreement=agreement,
    )


def _spectra_agree(
    pair: tuple[Binned, Binned], counts: Sequence[Counts], contents: tuple[Array, Array]
) -> Agreement | None:
    """Of observables of which events hold several values."""
    sums = [float(content.sum()) for content in contents]
    if not all(sums):
        return None
    weights = [binned.sample.weight for binned in pair]
    first, second = (
        np.asarray(count.covariance(weight))[1:-1, 1:-1] / total**2
        for count, weight, total in zip(counts, weights, sums, strict=True)
    )
    shares = (contents[0] / sums[0], contents[1] / sums[1])
    return of_events(shares, (first, second), sum(map(effective, weights)), join=True)


def _means_agree(values: tuple[Tensor, Tensor], samples: tuple[Sample, Sample]) -> Agreement | None:
    """Of mean profiles."""
    if any(map(has_negative, samples)):
        return None
    means, covariances = [], []
    for content, sample in zip(values, samples, strict=True):
        share = sample.weight / sample.weight.sum()
        mean = share @ content
        rest = (content - mean) * share[:, None]
        means.append(np.asarray(mean))
        covariances.append(np.asarray(rest.T @ rest))
    events = sum(effective(sample.weight) for sample in samples)
    return of_events((means[0], means[1]), (covariances[0], covariances[1]), events, join=False)


def _share(counts: Array, at: int) -> float:
    total = float(counts.sum())
    return float(counts[at]) / total if total else 0.0
