r"""Response and resolution: mean and relative width of what is seen over what was asked for, in bins.

Errors are the textbook's, :math:`\sigma/\sqrt n` of the mean and
:math:`\sqrt{(\mu_4 - \sigma^4)/(4\sigma^2 n)}` of the width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from simulacra.metrics.sample import Column, Sample
from simulacra.metrics.separation import resolve
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
    ratio = _shortest(ratio, core)
    n, mean = len(ratio), float(ratio.mean())
    variance = float(ratio.var(unbiased=False))
    if mean <= 0 or variance <= 0:
        return None
    fourth = float((ratio - mean).pow(4).mean())
    width = math.sqrt(variance)
    error = math.sqrt(max(0.0, fourth - variance**2) / (4 * variance * n))
    return Moments(n, mean, width / math.sqrt(n), width / mean, error / mean)


def _shortest(values: Tensor, share: float) -> Tensor:
    """Values of the shortest interval that holds ``share`` of them (with 0.9: those of mu_90 and
    sigma_90).
    """
    ordered = values.sort().values
    count = max(1, round(share * len(ordered)))
    start = int((ordered[count - 1 :] - ordered[: len(ordered) - count + 1]).argmin())
    return ordered[start : start + count]


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
    event = ((asked >= item.low) & (asked < item.high)).nonzero()[:, 0]
    return Column((seen / asked)[event], event, 0, True)
