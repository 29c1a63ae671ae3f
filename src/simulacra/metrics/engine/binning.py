"""What the truth fixes before anything is compared, and samples whose values are binned once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from simulacra.metrics.engine.bins import bin_index, resolve
from simulacra.metrics.engine.response import response_bins
from simulacra.metrics.engine.sample import Column, Sample
from simulacra.metrics.engine.weighted import Weight, deviation
from simulacra.physics.base import Axis, ObservableSet, ResponseBin


@dataclass(frozen=True)
class Binning:
    """What is fixed by the truth before anything is compared.

    Args:
        axes: Axis of each observable.
        edges: Bin edges of each observable.
        scales: Standard deviation of each observable.
        response: Response bins and the edges of their histograms.
        core: Share of events in the interval of response and resolution.
        groups: Observables whose separation powers are quoted as one mean.
    """

    axes: dict[str, Axis]
    edges: dict[str, Tensor]
    scales: dict[str, float]
    response: tuple[tuple[ResponseBin, Tensor], ...]
    core: float
    groups: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, reference: Sample, observables: ObservableSet) -> Binning:
        """Binning from the reference sample, in which negative weights count by their size."""
        axes = observables.axes()
        edges, scales = {}, {}
        for name, column in reference.columns.items():
            weight = reference.weights(name)
            weight = None if weight is None else weight.abs()
            edges[name] = resolve(axes[name], column.values, weight)
            scales[name] = _scale(column.values, weight)
        response = response_bins(reference, observables)
        defined = {name for name, column in reference.columns.items() if column.n}
        groups = {
            name: tuple(item for item in members if item in defined)
            for name, members in observables.groups().items()
        }
        groups = {name: members for name, members in groups.items() if members}
        return cls(axes, edges, scales, response, observables.core, groups)


class Counts:
    """How the values of one observable spread over bins, event by event.

    Args:
        column: The values.
        edges: Bin edges ``(bins + 1,)``.
    """

    def __init__(self, column: Column, edges: Tensor) -> None:
        self.column, self.values = column, column.n
        self.bins, self.index = len(edges) + 1, bin_index(column.values, edges)

    @cached_property
    def plain(self) -> Tensor:
        """Values per bin ``(bins,)``, events counting alike."""
        return torch.bincount(self.index, minlength=self.bins).double()

    @cached_property
    def table(self) -> Tensor:
        """Counts of each event ``(N, bins)``, for events that hold several values."""
        key = self.index.add(self.column.event, alpha=self.bins)
        events = len(self.column.counts)
        return torch.bincount(key, minlength=self.bins * events).view(events, -1).double()

    def squares(self, weight: Tensor) -> Tensor:
        r"""Squared errors of the counts ``(bins,)`` in the range at a given sum, for event weights ``(N,)``.

        Of one value per event: sums of squared weights. Several values of an event are not independent: whole
        events are what fluctuates. With :math:`c_{ek}` values of event :math:`e` in bin :math:`k` and the
        bin's share :math:`p_k` it is :math:`\sum_e w_e^2 (c_{ek} - p_k \sum_j c_{ej})^2`, the limit of a
        bootstrap of events.
        """
        if self.column.scalar:
            return self.of(weight.square()[None])[0]
        return weight.square() @ self._departures(weight).square()

    def covariance(self, weight: Tensor) -> Tensor:
        """As :meth:`squares`, with the covariances between bins: ``(bins, bins)``."""
        found = self._departures(weight)
        return found.T @ (weight.square()[:, None] * found)

    def _departures(self, weight: Tensor) -> Tensor:
        """Values of each event in each bin, less what the bin's share in the range would be ``(N, bins)``."""
        inside = torch.zeros(self.bins, dtype=torch.float64)
        inside[1:-1] = 1.0
        counts = weight @ self.table
        share = counts * inside / (counts @ inside).clamp_min(1e-300)
        return self.table - (self.table @ inside)[:, None] * share

    @property
    def single(self) -> bool:
        """Whether no event holds more than one value."""
        return self.column.scalar or not bool((self.column.counts > 1).any())

    def of(self, weight: Tensor) -> Tensor:
        """Weighted counts ``(R, bins)``, under- and overflow at the ends, for event weights ``(R, N)``."""
        if len(weight) == 1 and bool((weight == weight[0, 0]).all()):
            return weight[0, 0] * self.plain[None]
        if not self.column.scalar:
            return weight @ self.table
        rows = weight[:, self.column.event] if self.column.undefined else weight
        return torch.stack([torch.bincount(self.index, row, minlength=self.bins) for row in rows])


class Binned:
    """A sample whose observables are binned when they are asked for, each once.

    Args:
        sample: The sample.
        binning: Edges of every observable.
    """

    def __init__(self, sample: Sample, binning: Binning) -> None:
        self.sample, self.binning = sample, binning
        self._found: dict[str, Counts] = {}

    def counts(self, name: str) -> Counts:
        """Counts of one observable."""
        if name not in self._found:
            self._found[name] = Counts(self.sample.columns[name], self.binning.edges[name])
        return self._found[name]


def _scale(values: Tensor, weight: Weight) -> float:
    """Standard deviation, or for a constant its size, or 1."""
    if not len(values):
        return 1.0
    found = float(deviation(values if weight is None else values.double(), weight))
    largest = float(values.abs().max())
    return found if found > 1e-12 * largest else (largest or 1.0)
