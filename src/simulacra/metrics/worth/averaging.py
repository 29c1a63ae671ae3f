r"""Averaging amplification: how many training events the average over cells of phase space is worth
(arXiv:2509.08048).

A generator says that a cell :math:`V` holds a share :math:`I`. A sample of :math:`n_{gen}` generated events
knows it with the variance

.. math:: \sigma^2(V) = \frac{I (1 - I)}{n_{gen}} + \sigma_{model}^2(V),

where :math:`\sigma_{model}` is the spread of :math:`I` over networks: draws from a posterior, or trainings of
an ensemble on samples that were drawn again. As many true events know the share as well as the sample, and
the gain over the training is

.. math:: n_{equiv}(V) = \frac{I (1 - I)}{\sigma^2(V)}, \qquad G(V) = \frac{n_{equiv}(V)}{n_{train}}.

For infinitely many generated events it saturates at :math:`I (1 - I) / (n_{train} \sigma_{model}^2)`. One
that copies its training events has a gain of 1.

The spread over :math:`K` networks holds the fluctuation of the events of each, which is taken off, and its
inverse is too large by :math:`(K - 1) / (K - 3)` in the mean. The gain says something only if
:math:`\sigma_{model}` is right: :func:`pulls` tells, where the truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.weighted import Weight

FEWEST = 5
"""Networks from which a spread is taken, at least."""


@dataclass(frozen=True)
class Amplification:
    """Gain of an ensemble in each cell.

    Args:
        equivalent: True events that know each share as well ``(V,)``; infinite where the networks
            differ by no more than the fluctuation of their events.
        gain: These over the training events ``(V,)``.
        median: Median gain over the cells.
        error: Error of the median, from the jackknife over the networks.
        worst: Lowest gain; of many cells it is also the one that fluctuates most.
    """

    equivalent: Tensor
    gain: Tensor
    median: float
    error: float
    worst: float


class Cells:
    """Cells of equal content: the first observable is cut at quantiles, each part at those of the second.

    Args:
        sample: Observables ``(N, F)`` of the events whose quantiles are taken; one, two or four are usual.
        per_axis: Parts of each observable.

    Attributes:
        edges: Inner edges of each observable, ``(parts so far, per_axis - 1)``.

    Raises:
        UserError: If there are fewer events than cells.
    """

    def __init__(self, sample: Tensor, per_axis: int) -> None:
        self.per_axis, self.axes = per_axis, sample.shape[1]
        if len(sample) < len(self):
            raise UserError(f"{len(self)} cells need as many events, got {len(sample)}")
        self.edges: list[Tensor] = []
        cell = torch.zeros(len(sample), dtype=torch.int64)
        levels = torch.arange(1, per_axis, dtype=torch.float64) / per_axis
        for axis in range(self.axes):
            values = sample[:, axis].double()
            parts = [values[cell == c] for c in range(per_axis**axis)]
            if not all(map(len, parts)):
                raise UserError("an observable takes too few values to be cut into so many parts")
            self.edges.append(torch.stack([torch.quantile(part, levels) for part in parts]))
            cell = self._next(cell, values, axis)

    def __len__(self) -> int:
        return int(self.per_axis**self.axes)

    def __call__(self, events: Tensor) -> Tensor:
        """Cell of each event ``(n, F)``, int64 ``(n,)``."""
        cell = torch.zeros(len(events), dtype=torch.int64)
        for axis in range(self.axes):
            cell = self._next(cell, events[:, axis].double(), axis)
        return cell

    def shares(self, events: Tensor, weight: Weight = None) -> Tensor:
        """Share of the events ``(n, F)`` in each cell, with their weights, ``(V,)``."""
        found = torch.bincount(self(events), weight, minlength=len(self)).double()
        return found / found.sum()

    def _next(self, cell: Tensor, values: Tensor, axis: int) -> Tensor:
        edges = self.edges[axis]
        if len(edges) == 1:
            return cell * self.per_axis + torch.searchsorted(
                edges[0], values.contiguous(), right=True
            )
        return cell * self.per_axis + (values[:, None] >= edges[cell]).sum(1)


def amplification(
    shares: Tensor, sizes: Sequence[float], trained: float, generated: float | None = None
) -> Amplification:
    """Gain of an ensemble.

    Args:
        shares: Share of the generated events of each network in each cell ``(K, V)``.
        sizes: (Effective) number of generated events behind the shares of each network ``(K,)``.
        trained: Training events.
        generated: Generated events whose worth is asked for; None: infinitely many.

    Raises:
        UserError: With fewer than five networks.
    """
    networks = len(shares)
    if networks < FEWEST:
        raise UserError(f"a spread needs {FEWEST} networks, got {networks}")
    gain, equivalent = _gain(shares, sizes, trained, generated)
    left = [
        float(_gain(shares[keep], _kept(sizes, keep), trained, generated)[0].median())
        for keep in (torch.arange(networks) != out for out in range(networks))
    ]
    spread = torch.tensor(left, dtype=torch.float64).std(unbiased=False)
    error = math.sqrt(networks - 1) * float(spread)
    return Amplification(equivalent, gain, float(gain.median()), error, float(gain.min()))


def model_spread(shares: Tensor, sizes: Sequence[float]) -> Tensor:
    r""":math:`\sigma_{model}` of each cell ``(V,)``; arguments as for :func:`amplification`."""
    return _model_variance(shares.double(), sizes).sqrt()


def pulls(shares: Tensor, sizes: Sequence[float], truth: Tensor, true: float = math.inf) -> Tensor:
    """Deviation of the mean over networks from the truth in units of the model's spread, ``(V,)``.

    With a right spread their width is 1; where it is not 0.8 to 1.2, the gain means nothing.

    Args:
        shares: As for :func:`amplification`.
        sizes: Likewise.
        truth: True shares ``(V,)``.
        true: True events behind them; infinite where they are known exactly.
    """
    mean, known = shares.double().mean(0), truth.double()
    variance = _model_variance(shares.double(), sizes) + known * (1 - known) / true
    return (mean - known) / variance.sqrt()


def _gain(
    shares: Tensor, sizes: Sequence[float], trained: float, generated: float | None
) -> tuple[Tensor, Tensor]:
    """Gain and equivalent number of events ``(V,)`` each."""
    mean = shares.double().mean(0)
    content = mean * (1 - mean)
    networks = len(shares)
    inverse = (networks - 3) / (networks - 1) if networks > 3 else 1.0
    variance = _model_variance(shares.double(), sizes) / inverse
    if generated is not None:
        variance = variance + content / generated
    equivalent = content / variance
    return equivalent / trained, equivalent


def _model_variance(shares: Tensor, sizes: Sequence[float]) -> Tensor:
    mean = shares.mean(0)
    own = mean * (1 - mean) * float(torch.tensor(sizes, dtype=torch.float64).reciprocal().mean())
    return (shares.var(0) - own).clamp(min=0)


def _kept(sizes: Sequence[float], keep: Tensor) -> list[float]:
    return [size for size, kept in zip(sizes, keep.tolist(), strict=True) if kept]
