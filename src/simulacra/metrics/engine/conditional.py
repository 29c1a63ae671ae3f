r"""How well each part of the conditions is met: figures in bins of the incident energy (or whatever is asked
for; of jets their :math:`p_T`), and response over all of them.

``conditional/<bin>/w1_mean`` is the mean over observables of W1 among the events of a bin, each over the
standard deviation of the observable in the whole reference, so that bins compare with each other and with
``w1_mean``. ``conditional/linearity`` is the largest absolute relative deviation of the mean response from
the truth's over the bins, ``conditional/resolution`` that of the relative width; their errors are those of
the bin with the largest deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from simulacra.metrics.distances.wasserstein import Union
from simulacra.metrics.engine.binning import Binning
from simulacra.metrics.engine.columns import poisson_weights, spread, table
from simulacra.metrics.engine.response import MIN_EVENTS, deviations
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import Figure, Judged, NotRun
from simulacra.metrics.engine.weighted import Weight, quantiles
from simulacra.physics.base import ResponseBin

REPLICAS = 10
"""Bootstrap replicas behind the error of a bin."""
VALUES = 200_000
"""Values of an observable per bin and sample, at most: evenly spread over the events."""


class Conditional:
    """Scores in bins of what is asked for.

    Args:
        bins: The bins.
        scales: Standard deviation of each observable that is compared.
        core: Share of events in the interval of response and resolution.
        column: Observable by which events are binned where they have no response.
    """

    def __init__(
        self,
        bins: Sequence[ResponseBin],
        scales: Mapping[str, float],
        core: float = 1.0,
        column: str = "pt",
    ) -> None:
        self.bins, self.scales, self.core, self.column = tuple(bins), dict(scales), core, column

    @classmethod
    def of(cls, reference: Sample, binning: Binning, column: str = "pt") -> Conditional:
        """Bins of the response, or where there is none four with equal numbers of true events."""
        bins = [item for item, _ in binning.response]
        if not bins and reference.response is None and column in reference.columns:
            values = reference.columns[column].values
            bins = quartiles(values, column, reference.weights(column))
        return cls(bins, binning.scales, binning.core, column)

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """``conditional/<bin>/w1_mean``, ``conditional/linearity`` and ``conditional/resolution``.

        Raises:
            NotRun: If no bin has 30 events of each kind.
        """
        pair = reference.sample, generated.sample
        found = {}
        for item in self.bins:
            parts = [inside(sample, item, self.column) for sample in pair]
            if min(part.events for part in parts) >= MIN_EVENTS:
                key = f"conditional/{item.name}/w1_mean"
                found[key] = mean_distance(parts[0], parts[1], self.scales, seed)
        if not found:
            raise NotRun(f"no bin of what is asked for has {MIN_EVENTS} events of each kind")
        return found | largest_deviations(*pair, self.bins, self.core)


def quartiles(values: Tensor, name: str, weight: Weight = None) -> list[ResponseBin]:
    """Four bins with equal weights of values, the first and last open outwards."""
    levels = [0.25, 0.5, 0.75]
    inner = (
        torch.quantile(values.double(), torch.tensor(levels, dtype=torch.float64))
        if weight is None
        else quantiles(values, levels, weight)
    )
    edges = [-math.inf, *inner.tolist(), math.inf]
    texts = [f"{edge:.3g}" for edge in edges[1:-1]]
    names = [
        f"{name}_below_{texts[0]}",
        *(f"{name}_{a}_to_{b}" for a, b in pairwise(texts)),
        f"{name}_above_{texts[-1]}",
    ]
    return [ResponseBin(*ends, text) for ends, text in zip(pairwise(edges), names, strict=True)]


def inside(sample: Sample, item: ResponseBin, column: str) -> Sample:
    """The events of a bin of what is asked for, or of an observable where nothing is."""
    if sample.response is not None:
        asked = sample.response[0]
    elif column in sample.columns:
        asked = table(sample, [column])[:, 0]
    else:
        raise NotRun(f"these events have neither a response nor an observable {column!r}")
    return sample.take(((asked >= item.low) & (asked < item.high)).nonzero()[:, 0])


def mean_distance(
    reference: Sample, generated: Sample, scales: Mapping[str, float], seed: int = 0
) -> Figure:
    """Mean over observables of W1 in units of ``scales``, with the error of a bootstrap of whole events;
    observables that one of the samples lacks are left out.
    """
    weights = [
        torch.cat([s.weight[None], poisson_weights(s.weight, REPLICAS, seed + number)])
        for number, s in enumerate((reference, generated))
    ]
    draws = []
    for name, scale in scales.items():
        columns = [_thinned(sample, name) for sample in (reference, generated)]
        if all(len(values) for values, _ in columns):
            (p, p_event), (q, q_event) = columns
            shared = Union.of(p, q, (p_event, q_event), (reference.events, generated.events))
            found = [shared.distance(a, b) for a, b in zip(*weights, strict=True)]
            draws.append(torch.stack(found) / scale)
    if not draws:
        return Figure(math.nan)
    means = torch.stack(draws).mean(0)
    return Figure(float(means[0]), spread(means[1:][means[1:].isfinite()]))


def _thinned(sample: Sample, name: str) -> tuple[Tensor, Tensor]:
    column = sample.columns[name]
    stride = -(-len(column.values) // VALUES) or 1
    return column.values[::stride], column.event[::stride]


def largest_deviations(
    reference: Sample, generated: Sample, bins: Sequence[ResponseBin], core: float
) -> dict[str, Figure]:
    """Largest deviations of response and resolution over the bins."""
    values, errors = deviations(reference, generated, bins, core)
    found = {}
    for name, kind in (("linearity", "response/"), ("resolution", "resolution/")):
        keys = [key for key in values if key.startswith(kind)]
        if keys:
            worst = max(keys, key=lambda key: abs(values[key]))
            found[f"conditional/{name}"] = Figure(abs(values[worst]), errors[worst])
    return found
