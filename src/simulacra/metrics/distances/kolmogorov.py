r"""Distances of Kolmogorov and Smirnov between samples of many observables, with weights.

With the distribution functions :math:`F` of a sample and :math:`G` of the reference,

.. math:: D = \sup_z |F(z) - G(z)|.

Samples of one distribution with :math:`n` and :math:`N` events differ by about :math:`\sqrt{1/n + 1/N}`
times a number that is the same for all sizes, smaller where many values are equal.

A value that is not finite is one, too: what is undefined (NaN) lies below all others.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.metrics.engine.weighted import UNWEIGHTED, Weight, Weights

Array = NDArray[np.float64]
Places = NDArray[np.int64]
HIGH = 32
"""Bits by which the first half of a place is shifted."""


class Distribution:
    """The reference, with which many samples are compared: each is placed in it once.

    Args:
        reference: Observables of the reference ``(N, F)``.
        weight: Weights of its events ``(N,)``, or None.
    """

    def __init__(self, reference: Tensor, weight: Weight = None) -> None:
        values = _defined(reference)
        order = values.argsort(axis=1)
        self._ordered = np.take_along_axis(values, order, 1)
        events = values.shape[1]
        self._below: Array = np.arange(events + 1)[None] / events
        if weight is not None:
            shares = (weight / weight.sum()).double().cpu().numpy()[order].cumsum(1)
            self._below = np.pad(shares, ((0, 0), (1, 0)))

    def places(self, values: Tensor) -> Places:
        """Where the values ``(n, F)`` of a sample lie, ``(F, n)``: numbers of reference values below, and at
        or below, each of them.
        """
        rows = zip(self._ordered, _defined(values), strict=True)
        found = [
            np.searchsorted(known, row, "left").astype(np.int64) << HIGH
            | np.searchsorted(known, row, "right")
            for known, row in rows
        ]
        return np.stack(found)

    def distances(self, places: Places, weight: Array | None = None) -> Array:
        """Distance of each observable ``(F,)`` of a sample.

        Args:
            places: Of its events, ``(F, n)``.
            weight: Weights of its events ``(n,)``, or None.
        """
        events = places.shape[1]
        if weight is None:
            ordered = np.sort(places, axis=1)
            reached = np.arange(1, events + 1) / events
            before = reached - 1 / events
        else:
            order = np.argsort(places, axis=1)
            ordered = np.take_along_axis(places, order, 1)
            shares = weight[order] / weight.sum()
            reached = shares.cumsum(1)
            before = reached - shares
        low, high = self._share(ordered >> HIGH), self._share(ordered & (2**HIGH - 1))
        found: Array = np.maximum((reached - high).max(1), (low - before).max(1)).clip(min=0)
        return found

    def _share(self, number: Places) -> Array:
        """Shares of the reference's weight in its first values ``(F, n)``."""
        if len(self._below) == 1:
            return self._below[0][number]
        return np.take_along_axis(self._below, number, 1)


def kolmogorov(reference: Tensor, generated: Tensor, weights: Weights = UNWEIGHTED) -> Tensor:
    """Distance of each observable.

    Args:
        reference: Observables ``(N, F)``.
        generated: The same of generated events ``(M, F)``.
        weights: Weights of the true and of the generated events.

    Returns:
        Distances ``(F,)``, float64, from 0 to 1.
    """
    known = Distribution(reference, weights[0])
    weight = None if weights[1] is None else weights[1].double().cpu().numpy()
    return torch.from_numpy(known.distances(known.places(generated), weight))


def _defined(values: Tensor) -> Array:
    """Observables in rows ``(F, n)``; NaN becomes the lowest value."""
    rows = values.detach().cpu().double().T.contiguous().numpy()
    return np.where(np.isnan(rows), -np.inf, rows)
