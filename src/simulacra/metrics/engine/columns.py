"""Columns of a sample as tables with one row per event."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.metrics.engine.sample import Sample


def table(sample: Sample, names: Sequence[str]) -> Tensor:
    """Observables of one value per event, ``(N, F)`` float64; NaN where an event has none.

    Raises:
        KeyError: If the sample lacks one of them.
    """
    rows = torch.full((sample.events, len(names)), torch.nan, dtype=torch.float64)
    for position, name in enumerate(names):
        column = sample.columns[name]
        rows[column.counts > 0, position] = column.values.double()
    return rows


def one_of_each(sample: Sample, name: str, generator: torch.Generator) -> Tensor:
    """One value per event, drawn among those that the event holds, ``(N,)``; NaN where it holds none."""
    column = sample.columns[name]
    held = column.counts > 0
    drawn = torch.rand(sample.events, generator=generator, dtype=torch.float64)
    place = (drawn * column.counts).long() + column.counts.cumsum(0) - column.counts
    found = torch.full((sample.events,), torch.nan, dtype=torch.float64)
    found[held] = column.values[place[held]].double()
    return found


def poisson_weights(weight: Tensor, replicas: int, seed: int) -> Tensor:
    """Weights of a bootstrap of whole events, ``(R, N)``: each event counts Poisson(1) times."""
    generator = torch.Generator().manual_seed(seed)
    ones = torch.ones(replicas, len(weight), dtype=torch.float64)
    return weight * torch.poisson(ones, generator=generator)


def spread(values: Sequence[float] | Tensor) -> float:
    """Standard deviation of replicas, the statistical error."""
    return float(torch.as_tensor(values, dtype=torch.float64).std())
