r"""Response and resolution: mean and relative width of what is seen over what was asked for, in bins.

Where only the shortest interval with a share of the events counts (with 0.9: :math:`\mu_{90}` and
:math:`\sigma_{90}` of arXiv:2005.05334, function ``fit90`` of its code), errors are the published
:math:`\sigma/\sqrt n` of the mean and :math:`\sigma/\sqrt{2n}` of the width. Where all events count, the
latter is the textbook's :math:`\sqrt{(\mu_4 - \sigma^4)/(4\sigma^2 n)}`. Of weighted events :math:`n` is the
effective number.

Note:
    :math:`\mu_{90}` and :math:`\sigma_{90}` here are those of the definition. ``fit90`` finds the shortest
    interval of the sorted values and then cuts the unsorted array at its positions, which keeps an arbitrary
    90 % of the events: published widths are about those of all events, 26 % above :math:`\sigma_{90}` for a
    Gaussian, and are not to be compared with ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from simulacra.metrics.engine.bins import resolve
from simulacra.metrics.engine.sample import Column, Sample
from simulacra.metrics.engine.weighted import Weight, mean, unequal, worth
from simulacra.physics.base import Axis, ObservableSet, ResponseBin

RESPONSE_BINS = 6
"""Bins even in the logarithm of what is asked for, where the data set names none."""
MIN_EVENTS = 30
"""Response bins with fewer events in either sample are left out."""


def response_bins(
    reference: Sample, observables: ObservableSet
) -> tuple[tuple[ResponseBin, Tensor], ...]:
    """Bins with enough true events, and the edges of their histograms of seen over asked."""
    if reference.response is None:
        return ()
    asked, seen = reference.response
    bins = observables.response_bins() or _even(asked, observables.spec.unit)
    found = []
    for item in bins:
        inside = (asked >= item.low) & (asked < item.high)
        if int(inside.sum()) >= MIN_EVENTS:
            axis = item.axis or Axis(observables.ratio, bins=20)
            weight = unequal(reference.weight[inside].abs())
            found.append((item, resolve(axis, (seen / asked)[inside], weight)))
    return tuple(found)


def _even(asked: Tensor, unit: str) -> tuple[ResponseBin, ...]:
    low, high = float(asked.min()), float(asked.max())
    if low <= 0 or low == high:
        return (ResponseBin(low, math.nextafter(high, math.inf), "all"),)
    edges = [low * (high / low) ** (i / RESPONSE_BINS) for i in range(RESPONSE_BINS + 1)]
    edges[-1] = math.nextafter(high, math.inf)
    return tuple(ResponseBin(a, b, f"{_short(a)}-{_short(b)}{unit}") for a, b in pairwise(edges))


def _short(value: float) -> str:
    """Three digits, without an exponent up to a million."""
    return f"{float(f'{value:.3g}'):g}"


@dataclass(frozen=True)
class Moments:
    """Mean and relative width of the response in one bin, with errors."""

    events: int
    mean: float
    mean_error: float
    resolution: float
    resolution_error: float


@dataclass(frozen=True)
class Peak:
    """Mean and width of values, with errors, in the unit of the values."""

    events: int
    mean: float
    mean_error: float
    width: float
    width_error: float


def peak(values: Tensor, share: float = 0.9, weight: Weight = None) -> Peak:
    """Mean and standard deviation of values ``(n,)`` in the shortest interval with a share of the weight."""
    kept, kept_weight = shortest(values.double(), share, weight)
    middle = mean(kept, kept_weight)
    width = float(
        kept.std(unbiased=False)
        if kept_weight is None
        else mean((kept - middle).square(), kept_weight).sqrt()
    )
    if share < 1:
        n = worth(len(values), weight)
        n -= round(n * (1 - share))
        error = width / math.sqrt(2 * n)
    else:
        n, fourth = worth(len(kept), weight), float(mean((kept - middle).pow(4), kept_weight))
        error = math.sqrt(max(0.0, fourth - width**4) / (4 * width**2 * n)) if width else 0.0
    return Peak(round(n), float(middle), width / math.sqrt(n), width, error)


def shortest(values: Tensor, share: float, weight: Weight = None) -> tuple[Tensor, Weight]:
    """Values of the shortest interval that holds a share of the weight, and their weights.

    As in the public code, the interval is chosen by the distance to the value behind its last one. The number
    of values left out is rounded down; where they have weights, the last one counts in part instead.
    """
    ordered, order = values.sort()
    if weight is not None:
        return _shortest(ordered, weight[order], share) if share < 1 else (ordered, weight[order])
    left = int(len(ordered) * (1 - share))
    if not left:
        return ordered, None
    start = int((ordered[-left:] - ordered[:left]).argmin())
    return ordered[start : start + len(ordered) - left], None


def _shortest(ordered: Tensor, weight: Tensor, share: float) -> tuple[Tensor, Tensor]:
    after = weight.cumsum(0)
    before, slack = after - weight, 1e-9 * after[-1]
    behind = torch.searchsorted(after, before + share * after[-1] + slack, right=True)
    starts = (behind < len(ordered)).nonzero()[:, 0]
    if not len(starts):
        return ordered, weight
    start = int(starts[(ordered[behind[starts]] - ordered[starts]).argmin()])
    inside = (before[start] + share * after[-1] - before[start:]).clamp(min=0)
    kept = torch.minimum(weight[start:], inside)
    return ordered[start:][kept > 0], kept[kept > 0]


def response_moments(sample: Sample, item: ResponseBin, core: float) -> Moments | None:
    """Response in one bin; None with too few events.  ``core`` < 1 takes the shortest interval
    that holds so many.
    """
    if sample.response is None:
        return None
    asked, seen = sample.response
    inside = (asked >= item.low) & (asked < item.high)
    ratio = (seen / asked)[inside]
    if len(ratio) < MIN_EVENTS:
        return None
    found = peak(ratio, core, unequal(sample.weight[inside]))
    if found.mean <= 0 or found.width <= 0:
        return None
    return Moments(
        found.events,
        found.mean,
        found.mean_error,
        found.width / found.mean,
        found.width_error / found.mean,
    )


def deviations(
    reference: Sample, generated: Sample, bins: Sequence[ResponseBin], core: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Relative deviations ``response/<bin>`` and ``resolution/<bin>`` from the truth, and errors."""
    values, errors = {}, {}
    for item in bins:
        p, q = (response_moments(sample, item, core) for sample in (reference, generated))
        if p is None or q is None:
            continue
        ratio = q.mean / p.mean
        relative = math.hypot(q.mean_error / q.mean, p.mean_error / p.mean)
        values[f"response/{item.name}"] = ratio - 1
        errors[f"response/{item.name}"] = ratio * relative
        ratio = q.resolution / p.resolution
        relative = math.hypot(q.resolution_error / q.resolution, p.resolution_error / p.resolution)
        values[f"resolution/{item.name}"] = ratio - 1
        errors[f"resolution/{item.name}"] = ratio * relative
    return values, errors


def ratios(sample: Sample, item: ResponseBin) -> Column:
    """Seen over asked of the events in one bin."""
    if sample.response is None:
        raise ValueError("these events have no response")
    asked, seen = sample.response
    inside = (asked >= item.low) & (asked < item.high)
    return Column((seen / asked)[inside], inside.long(), False)
