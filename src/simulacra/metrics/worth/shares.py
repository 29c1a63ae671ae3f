r"""What a sample is worth by its shares in cells of equal true content (arXiv:2008.06545, arXiv:2202.07352).

The truth is cut into :math:`V` cells of equal content: quantiles of one observable, a k-d-tree of several
(:class:`~simulacra.metrics.worth.averaging.Cells`). A sample of shares :math:`x_j` in them, where
the truth has :math:`p_j`, is at a distance of

.. math:: \mathrm{MSE} = \frac1V \sum_j (x_j - p_j)^2, \qquad
          \mathrm{JS} = \frac12 \sum_j \Bigl( x_j \ln \frac{2 x_j}{x_j + p_j} +
          p_j \ln \frac{2 p_j}{x_j + p_j} \Bigr).

In the mean over samples of :math:`n` true events :math:`\mathrm{MSE} = (1 - 1/V) / (V n)`, so that one at
this distance is worth :math:`n` of them, whatever it consists of. Where the truth is a sample itself, the
curve of :class:`~simulacra.metrics.worth.equivalent.Curve` is read at :math:`\sqrt{\mathrm{JS}}`, which falls
as :math:`n^{-1/2}`.

Note:
    The published study of showers draws its curve from independent true showers likewise; how it averages is
    not public.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.weighted import Rows
from simulacra.metrics.worth.averaging import Cells
from simulacra.metrics.worth.equivalent import DRAWS, LEAST, POINTS, REPLICAS, Curve, Worth, read

PER_CELL = 2
"""True events of the smallest samples of the curve in a cell, at least; with fewer most cells are empty."""


def mean_square(shares: Tensor, truth: Tensor) -> Tensor:
    """``MSE`` of shares ``(*, V)`` from the true ones ``(V,)``, ``(*)``."""
    return (shares.double() - truth.double()).square().mean(-1)


def jensen_shannon(shares: Tensor, truth: Tensor) -> Tensor:
    """``JS`` of shares ``(*, V)`` from the true ones ``(V,)``, ``(*)``; from 0 to ln 2."""
    x, p = torch.broadcast_tensors(shares.double(), truth.double())
    middle = (x + p) / 2
    return (_relative(x, middle) + _relative(p, middle)).clamp_min(0) / 2


def true_mean_square(truth: Tensor, events: float) -> float:
    """Mean of ``MSE`` over samples of so many true events, of true shares ``(V,)``."""
    return float((truth.double() * (1 - truth.double())).mean()) / events


def worth_of_mean_square(found: Tensor, truth: Tensor) -> Tensor:
    """True events whose ``MSE`` is in the mean what was found ``(*)``; infinite where that is 0."""
    return true_mean_square(truth, 1.0) / found.double()


def worth_by_shares(
    cells: Cells, reference: Rows, truth: Rows, generated: Rows, seed: int = 0
) -> Worth:
    """True events that come as close to the reference by ``JS``.

    Args:
        cells: Cells of the reference.
        reference: Observables of true events ``(N, F)``.
        truth: The same of other true events ``(T, F)``, of which the samples of the curve are drawn.
        generated: The same of generated events ``(M, F)``.
        seed: Seed of samples and bootstrap.

    Raises:
        UserError: With fewer than twice as many other true events as the smallest samples have.
    """
    smallest = max(LEAST, PER_CELL * len(cells))
    if len(truth) < 2 * smallest:
        raise UserError(
            f"{len(cells)} cells need a curve of {2 * smallest} true events, got {len(truth)}"
        )
    rng = np.random.default_rng(seed)
    known = cells.shares(reference.values, reference.weight)
    pool, made = _Cells.of(cells, truth), _Cells.of(cells, generated)
    drawn = []
    for n in np.unique(np.geomspace(smallest, len(truth), POINTS).astype(int)):
        wanted = max(1, min(DRAWS, 2 * len(truth) // int(n)))
        samples = [pool.some(rng.choice(len(truth), size=n, replace=False)) for _ in range(wanted)]
        found = [[_distance(sample.shares, known)] for sample in samples]
        size = float(np.mean([1 / sample.worth for sample in samples]))
        drawn.append((size + 1 / reference.worth, np.array(found)))
    curve = Curve.of(drawn, 0, 1 / reference.worth)
    if curve is None:
        raise UserError("all true samples have the same shares: there is no curve to read")
    distance = _distance(made.shares, known)
    again = np.array([
        _distance(made.some(rng.integers(len(generated), size=len(generated))).shares, known)
        for _ in range(REPLICAS)
    ])  # fmt: skip
    shifted = distance + again - again.mean()
    curves = [curve.drawn_again(rng) for _ in range(REPLICAS)]
    return read(curve, curves, distance, shifted, generated.worth)


class _Cells:
    """Cells of some events ``(n,)`` with their weights."""

    def __init__(self, number: int, cell: Tensor, weight: Tensor | None) -> None:
        self.number, self.cell, self.weight = number, cell, weight

    @classmethod
    def of(cls, cells: Cells, rows: Rows) -> _Cells:
        return cls(len(cells), cells(rows.values), rows.weight)

    def some(self, index: np.ndarray) -> _Cells:
        chosen = torch.from_numpy(index)
        weight = None if self.weight is None else self.weight[chosen]
        return _Cells(self.number, self.cell[chosen], weight)

    @property
    def worth(self) -> float:
        return Rows(self.cell, self.weight).worth

    @property
    def shares(self) -> Tensor:
        found = torch.bincount(self.cell, self.weight, minlength=self.number).double()
        return found / found.sum()


def _distance(shares: Tensor, truth: Tensor) -> float:
    return float(jensen_shannon(shares, truth).sqrt())


def _relative(x: Tensor, other: Tensor) -> Tensor:
    """Divergence of Kullback and Leibler of shares ``(*, V)`` from others that are nowhere 0 without them."""
    return torch.where(x > 0, x * (x / other.clamp_min(1e-300)).log(), 0.0).sum(-1)
