r"""Response and resolution: mean and relative width of what is seen over what was asked for, in bins.

Where only the shortest interval with a share of the events counts (with 0.9: :math:`\mu_{90}` and
:math:`\sigma_{90}` of arXiv:2005.05334, function ``fit90`` of its code), errors are the published
:math:`\sigma/\sqrt n` of the mean and :math:`\sigma/\sqrt{2n}` of the width. Where all events count, the
latter is the textbook's :math:`\sqrt{(\mu_4 - \sigma^4)/(4\sigma^2 n)}`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from simulacra.metrics.bins import resolve
from simulacra.metrics.sample import Column, Sample
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
            axis = item.axis or Axis("seen / asked", bins=20)
            found.append((item, resolve(axis, (seen / asked)[inside])))
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


def peak(values: Tensor, share: float = 0.9) -> Peak:
    """Mean and standard deviation of values ``(n,)`` in the shortest interval with a share of them."""
    kept = shortest(values.double(), share)
    mean, width = float(kept.mean()), float(kept.std(unbiased=False))
    if share < 1:
        n = len(values) - round(len(values) * (1 - share))
        return Peak(n, mean, width / math.sqrt(n), width, width / math.sqrt(2 * n))
    n, fourth = len(kept), float((kept - mean).pow(4).mean())
    error = math.sqrt(max(0.0, fourth - width**4) / (4 * width**2 * n)) if width else 0.0
    return Peak(n, mean, width / math.sqrt(n), width, error)


def shortest(values: Tensor, share: float) -> Tensor:
    """Values of the shortest interval that holds a share of them.

    As in the public code, the interval is chosen by the distance to the value behind its last one, and the
    number of values left out is rounded down.
    """
    ordered = values.sort().values
    left = int(len(ordered) * (1 - share))
    if not left:
        return ordered
    start = int((ordered[-left:] - ordered[:left]).argmin())
    return ordered[start : start + len(ordered) - left]


def response_moments(sample: Sample, item: ResponseBin, core: float) -> Moments | None:
    """Response in one bin; None with too few events.  ``core`` < 1 takes the shortest interval
    that holds so many.
    """
    if sample.response is None:
        return None
    asked, seen = sample.response
    ratio = (seen / asked)[(asked >= item.low) & (asked < item.high)]
    if len(ratio) < MIN_EVENTS:
        return None
    found = peak(ratio, core)
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
