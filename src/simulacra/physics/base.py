"""Observables: what physicists histogram, as pure functions of a batch in physical units."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.core.constructors import role
from simulacra.physics.correlation import PEARSON, Coefficient
from simulacra.physics.deposits import Deposits

Found = TypeVar("Found")
ASKED, RATIO = "asked for", "seen / asked"
"""Texts of what is asked for and of what is seen over it, where a set of observables has none of its own."""


@dataclass(frozen=True)
class Ragged:
    """An observable of which events hold different numbers of values, stored one event after the other.

    Args:
        values: All finite values ``(n,)``.
        counts: How many of them belong to each event, int64 ``(B,)``.
    """

    values: Tensor
    counts: Tensor

    ndim = 2

    @classmethod
    def of(cls, values: Tensor) -> Ragged:
        """The finite values of ``(B,)`` or ``(B, K)``."""
        finite = torch.isfinite(values)
        if bool(finite.all()):
            full = values.numel() // max(1, len(values))
            return cls(values.flatten(), torch.full((len(values),), full, device=values.device))
        return cls(values[finite], finite.reshape(len(values), -1).sum(1))

    def to(self, device: torch.device | str) -> Ragged:
        """Copy on a device."""
        return Ragged(self.values.to(device), self.counts.to(device))


def per_batch(method: Callable[[Any, Batch], Found]) -> Callable[[Any, Batch], Found]:
    """Remember what a method found for the last batch, since observables, classifier inputs and
    profiles of one batch are asked for in turn and share their sums.
    """
    last: weakref.WeakKeyDictionary[Any, tuple[weakref.ref[Batch], Found]] = (
        weakref.WeakKeyDictionary()
    )

    @wraps(method)
    def remembered(self: Any, batch: Batch) -> Found:
        if self in last and last[self][0]() is batch:
            return last[self][1]
        found = method(self, batch)
        last[self] = (weakref.ref(batch), found)
        return found

    return remembered


def weighed(values: Tensor, event: Tensor, batch: Batch) -> Tensor:
    """Values ``(n,)`` times the weight of the event of the batch ``(n,)`` that each belongs to."""
    return values if batch.weight is None else values * batch.weight.to(values)[event]


@dataclass(frozen=True)
class Axis:
    """How an observable is labelled and binned.

    Args:
        label: Text for a plot, without the unit.
        unit: Unit, empty for a pure number.
        bins: Number of bins.
        low: Lower end of the range, or None to take it from the truth.
        high: Upper end, or None to take it from the truth.
        log: Whether bins are even in the logarithm.
        category: What kind of quantity it is, in a word (``energy``, ``centre``, ``width``, ``occupancy`` …):
            scores of several observables are also given for each category; empty: none.
    """

    label: str
    unit: str = ""
    bins: int = 50
    low: float | None = None
    high: float | None = None
    log: bool = False
    category: str = ""


def even_edges(
    low: float | np.floating[Any], high: float | np.floating[Any], bins: int, log: bool = False
) -> Tensor:
    """Edges ``(bins + 1,)`` of even bins (also in the logarithm), float64, to the last bit those of numpy.

    Published histograms have numpy's edges, and values lie on them: the centre of an empty layer is exactly
    0, a sparsity is a ratio of small whole numbers.  torch's differ in the last bit.  An end in float32 has
    its logarithm taken in float32, as numpy does.
    """
    if log:
        return torch.from_numpy(np.logspace(np.log10(low), np.log10(high), bins + 1))
    return torch.from_numpy(np.linspace(low, high, bins + 1))


@dataclass(frozen=True)
class Profile:
    """How the content of each event spreads along a coordinate (depth, radius, sensor number).

    Args:
        values: Content per event and bin ``(B, K)``.
        edges: Bin edges along the coordinate ``(K + 1,)``.
        axis: Label and unit of the coordinate.
        label: Text for the content.
        unit: Unit of the content.
        names: Names of the bins ``(K,)``, where they have some: the numbers of layers or sensors.
    """

    values: Tensor
    edges: Tensor
    axis: Axis
    label: str
    unit: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """A raster summed over the events of a batch, each with its weight; divided by the sum of the weights (of
    the number of events where they have none) it is the mean image.

    Args:
        values: Sum over the weighted events ``(rows, cols)``.
        edges: Edges along rows ``(rows + 1,)`` and columns ``(cols + 1,)``.
        axes: Label and unit of rows and columns.
        label: Text for the content.
        unit: Unit of the content.
        polar: Whether rows are an angle [rad] and columns a radius.
    """

    values: Tensor
    edges: tuple[Tensor, Tensor]
    axes: tuple[Axis, Axis]
    label: str
    unit: str = ""
    polar: bool = False


@dataclass(frozen=True)
class ResponseBin:
    """Events whose asked value lies in ``[low, high)``, and how their response is binned (None:
    from the truth).
    """

    low: float
    high: float
    name: str
    axis: Axis | None = None


@role
class ObservableSet(ABC):
    """All observables of one kind of data.

    An observable is ``(B,)``, or ``(B, K)`` where an event holds K values of it (its particles), or
    :class:`Ragged` where their number varies (its hit cells); a value that is undefined for an event is
    NaN. Evaluation cuts (``spec.cut``) are applied inside.

    Args:
        spec: The data set.

    Attributes:
        split: Proportions of training, selection and report part in the network classifiers' test.
        core: Share of events in the shortest interval that response and resolution are computed
            from (1: all events).
        asked: Text for what is asked for in :meth:`response`.
        ratio: Text for what is seen over it.
        coefficient: Which correlations between the bins of the first profile are drawn.
    """

    split: tuple[float, float, float] = (3.0, 1.0, 1.0)
    core: float = 1.0
    asked: str = ASKED
    ratio: str = RATIO
    coefficient: Coefficient = PEARSON

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    @abstractmethod
    def __call__(self, batch: Batch) -> Mapping[str, Tensor | Ragged]:
        """Observables by name."""

    @abstractmethod
    def axes(self) -> dict[str, Axis]:
        """Label and binning of every observable that :meth:`__call__` returns."""

    @abstractmethod
    def features(self, batch: Batch) -> Tensor:
        """High-level inputs of a classifier, finite, ``(B, F)``."""

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Observables whose separation powers are also quoted as one mean, by name of the mean."""
        return {}

    def response(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """What is asked for and how much of it is seen, two tensors ``(B,)`` in one unit, e.g.
        incident and deposited energy; None where the data have no such pair.
        """
        return None

    def response_bins(self) -> tuple[ResponseBin, ...] | None:
        """Bins of what is asked for; None for bins even in its logarithm between the truth's
        ends.
        """
        return None

    def deposits(self, batch: Batch) -> Deposits | None:
        """Energies at points in space; None where the data are no showers in layers."""
        return None

    def idealised(self, batch: Batch, generator: torch.Generator) -> Deposits | None:
        """The same energies in another representation, as a perfect sampler of it would have them: what a
        reconstruction loses by the representation alone. None where :meth:`deposits` is.
        """
        return None

    def cells(self, batch: Batch) -> Tensor:
        """Low-level inputs of a classifier, finite, ``(B, F)``: conditions (log10 where they span
        decades), then values.
        """
        fields = [field for field in self.spec.conditions if field.name in batch.cond]
        parts = [
            batch.cond[f.name].log10() if f.log else batch.cond[f.name].float() for f in fields
        ]
        return torch.cat([*parts, batch.x.flatten(1)], dim=1)

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Profiles by name, for plots and for the largest deviation from the truth."""
        return {}

    def images(self, batch: Batch) -> dict[str, Image]:
        """Images by name, summed over the events with their weights, for plots."""
        return {}
