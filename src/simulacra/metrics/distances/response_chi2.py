r"""How unlike the distributions of the seen energy are, energy by energy, as a sum of :math:`\chi^2` over
degrees of freedom.

At each energy the true events' :math:`E_{seen} / E_{asked}` is cut into bins of equal content, open at
both ends, so that no event is lost. With sums :math:`v_i, w_i` of the weights of true and generated events
in a bin, their totals :math:`V, W` and sums :math:`s^2_{v,i}, s^2_{w,i}` of squared weights,

.. math:: \chi^2 = \sum_i \frac{(W v_i - V w_i)^2}{W^2 s^2_{v,i} + V^2 s^2_{w,i}},

over the bins that are filled, one of which the totals take away. For equal distributions the figure is 1
in the mean, whatever the number of events. Adversarial trainings are judged by it, since their losses say
nothing and the energy is what varies most from one checkpoint to the next.

References: AtlFast3, arXiv:2109.02551; Gagunashvili, arXiv:physics/0605123, for weighted events.

Note:
    AtlFast3 takes 30 bins of equal width around the peak, and what lies outside of them does not count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.metrics.engine.response import MIN_EVENTS, response_bins
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import quantiles
from simulacra.physics.base import ResponseBin

Weighted = tuple[Tensor, Tensor]
"""Values and their weights, ``(n,)`` each."""


def chi2(truth: Weighted, generated: Weighted, bins: int) -> tuple[float, int]:
    r""":math:`\chi^2` of two samples of a number in bins of equal true content, and its degrees of freedom.

    NaN where a value is not finite; there are fewer bins where true values are alike.
    """
    if not all(bool(torch.isfinite(values).all()) for values, _ in (truth, generated)):
        return math.nan, bins - 1
    levels = [k / bins for k in range(1, bins)]
    edges = quantiles(truth[0], levels, truth[1]).unique()
    (v, sv), (w, sw) = (_sums(item, edges) for item in (truth, generated))
    spread = w.sum().square() * sv + v.sum().square() * sw
    filled = spread > 0
    pull = (w.sum() * v - v.sum() * w)[filled].square() / spread[filled]
    return float(pull.sum()), max(1, int(filled.sum()) - 1)


def _sums(sample: Weighted, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of weights and of their squares ``(bins,)``."""
    values, weight = sample
    index = torch.searchsorted(edges, values.double(), right=True)
    size = len(edges) + 1
    return (
        torch.bincount(index, weight, minlength=size),
        torch.bincount(index, weight.square(), minlength=size),
    )


@score_constructor
def response_chi2(
    reference: Judged, generated: Judged, seed: int, bins: Count = 10
) -> dict[str, Figure]:
    r"""``chi2``, the sum of :math:`\chi^2` over that of the degrees of freedom, and ``chi2/<bin>`` of
    every energy.

    Args:
        reference: True events.
        generated: Generated events.
        seed: Not used: nothing is drawn.
        bins: Bins at each energy.

    Raises:
        NotRun: If events have no response, or no energy has events enough.
    """
    found: dict[str, tuple[float, int]] = {}
    for item, _ in response_bins(reference.sample, reference.observables):
        pair = [_inside(judged.sample, item) for judged in (reference, generated)]
        if min(len(values) for values, _ in pair) >= MIN_EVENTS:
            found[item.name] = chi2(pair[0], pair[1], bins)
    if not found:
        raise NotRun(f"it needs energies with at least {MIN_EVENTS} events of either kind")
    whole = sum(value for value, _ in found.values()), sum(ndf for _, ndf in found.values())
    return {f"chi2{key}": _figure(*item) for key, item in {"": whole, **_named(found)}.items()}


def _named(found: dict[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    return {f"/{name}": item for name, item in found.items()}


def _figure(value: float, ndf: int) -> Figure:
    r"""With the width of a :math:`\chi^2` distribution that is off its centre by what was found."""
    excess = max(value - ndf, 0.0)
    return Figure(value / ndf, math.sqrt(2 * (ndf + 2 * excess)) / ndf, power=0.0)


def _inside(sample: Sample, item: ResponseBin) -> Weighted:
    """Response of the events in one bin, and their weights."""
    assert sample.response is not None
    asked, seen = sample.response
    inside = (asked >= item.low) & (asked < item.high)
    return (seen / asked)[inside].double(), sample.weight[inside].double()
