r"""Columns that are standard normal, also where some of their values are point masses.

A value that many events share (a cut, an empty result) is an atom of mass :math:`p_j`, and the other values
have the distribution function :math:`G`, so that

.. math:: F(x) = \Bigl(1 - \sum_j p_j\Bigr) G(x) + \sum_{a_j < x} p_j + \xi\, p_j\,[x = a_j], \qquad
          y = \Phi^{-1}(F(x)).

An atom fills its own interval of :math:`F` evenly, by :math:`\xi` uniform in (0, 1), and whatever lies in
the interval comes back as the atom exactly. :math:`G` is a piecewise linear map of quantiles
(:mod:`simulacra.transforms.maps.quantile`). A column of whole numbers, classes among them, is
spread by :math:`\xi - 1/2` and rounded on the way back. Both tails of :math:`F` are kept apart, so that no
digits are lost near 1.

Reference: for the intervals, arXiv:2403.15782, section 3 ("CDF dequantisation").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.special import log_ndtr, ndtri

from simulacra.core import Field
from simulacra.transforms.maps.quantile import QuantileMap

Array = NDArray[np.float64]
MARGIN = 0.005
"""Share of an atom's interval on either side that no event is sent to, so that rounding does not leave it."""
MOST = 6.0
"""Normal score of the outermost knot, at most."""
REST = 1e-9
"""Mass beside the atoms, at least, so that values that were never seen lie somewhere."""


class MixedQuantiles(nn.Module):
    """See the module's docstring; columns ``(B, K)``.

    Args:
        fields: What the columns are.
        knots: Knots of each continuous map.
        atoms: Point masses of a column, at most: the largest ones.
        share: Share of events from which a value is an atom; on a bound of the field two events are enough.
    """

    value: Tensor
    mass: Tensor
    whole: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, fields: Sequence[Field], knots: int = 129, atoms: int = 8, share: float = 0.005
    ) -> None:
        super().__init__()
        self.fields, self.share = tuple(fields), share
        self.smooth = QuantileMap(len(fields), knots)
        self.register_buffer("value", torch.zeros(len(fields), atoms, dtype=torch.float64))
        self.register_buffer("mass", torch.zeros(len(fields), atoms, dtype=torch.float64))
        whole = [field.integer or field.classes is not None for field in fields]
        self.register_buffer("whole", torch.tensor(whole, dtype=torch.bool), persistent=False)
        low, high = zip(*map(_bounds, fields), strict=True) if fields else ((), ())
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64), persistent=False)
        self.register_buffer("high", torch.tensor(high, dtype=torch.float64), persistent=False)

    def fit(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Set atoms and knots from rows ``(N, K)``.

        Weights ``(N,)`` that are negative count with their absolute value, which is enough for a map.
        """
        events = torch.ones(len(x)) if weight is None else weight.abs()
        kept = (events > 0).cpu().numpy()
        w = events.double().cpu().numpy()[kept]
        columns = [
            np.unique(x[:, i].double().cpu().numpy()[kept], return_inverse=True)
            for i in range(len(self.fields))
        ]
        masses = [np.bincount(place, w, len(values)) / w.sum() for values, place in columns]
        outer = torch.tensor(min((min(m[0], m[-1]) for m in masses), default=1.0)).double()
        top = float(-ndtri(outer / 2).clamp(-MOST, -0.1))
        self.smooth.level.copy_(torch.linspace(-top, top, self.smooth.level.numel()))
        self.mass.zero_()
        for i, field in enumerate(self.fields):
            (values, place), mass = columns[i], masses[i]
            if bool(self.whole[i]):
                edges = np.stack([values - 0.5, values + 0.5], 1).flatten()
                reach = np.cumsum(np.stack([np.zeros_like(mass), mass], 1).flatten())
                self._place(i, edges, reach, False)
                continue
            atoms = self._atoms(i, values, mass, np.bincount(place, minlength=len(values)))
            self.value[i, : len(atoms)] = torch.from_numpy(values[atoms])
            self.mass[i, : len(atoms)] = torch.from_numpy(mass[atoms])
            rest = np.setdiff1d(np.arange(len(values)), atoms)
            chosen = rest if len(rest) else atoms
            others = mass[chosen] / mass[chosen].sum()
            self._place(i, values[chosen], np.cumsum(others) - others / 2, field.log)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Physical values to normal ones, float64 ``(B, K)``; ``noise`` ``(B, K)`` is uniform in [0, 1)."""
        inner = MARGIN + (1 - 2 * MARGIN) * noise.double()
        x = x.double()
        plain: Tensor = self.smooth(x + torch.where(self.whole, inner - 0.5, 0.0))
        at = x[..., None]
        own, below, above = (
            (hit * self.mass).sum(-1)
            for hit in (at == self.value, self.value < at, self.value > at)
        )
        lower = self._rest * _ndtr(plain) + below + inner * own
        upper = self._rest * _ndtr(-plain) + above + (1 - inner) * own
        return torch.where(self._mixed, _normal(lower, upper), plain)

    def log_slope(self, x: Tensor) -> Tensor:
        """Logarithm of the derivative, float64 ``(B, K)``.

        Of an atom or a whole number it is that of a width: what a normal number has of probability in its
        interval, over the normal density where :meth:`forward` sends it without noise.
        """
        x = x.double()
        low, y, high = (self(x, torch.full_like(x, noise)) for noise in (0.0, 0.5, 1.0))
        sign = torch.where(y > 0, -1.0, 1.0)  # the tail that has the digits
        mass = (_ndtr(sign * high) - _ndtr(sign * low)).abs().clamp_min(REST)
        width = mass.log() + y.square() / 2 + 0.5 * math.log(2 * math.pi)
        filled = self.whole | ((x[..., None] == self.value) & (self.mass > 0)).any(-1)
        mixed = self._rest.log() + (y.square() - self.smooth(x).square()) / 2
        slope = self.smooth.log_slope(x) + torch.where(self._mixed, mixed, 0.0)
        return torch.where(filled, width, slope)

    def inverse(self, y: Tensor) -> Tensor:
        """Normal values to physical ones, float64 ``(B, K)``."""
        y = y.double()
        start, end = self._intervals()
        at = _ndtr(y)[..., None]
        below, above = (((end <= at) * self.mass).sum(-1), ((start > at) * self.mass).sum(-1))
        lower, upper = (_ndtr(y) - below) / self._rest, (_ndtr(-y) - above) / self._rest
        x = self.smooth.inverse(torch.where(self._mixed, _normal(lower, upper), y))
        inside = (at >= start) & (at < end)
        x = torch.where(inside.any(-1), (inside * self.value).sum(-1), x).where(~y.isnan(), y)
        return torch.where(self.whole, x.round(), x).clamp(self.low, self.high)

    def _intervals(self) -> tuple[Tensor, Tensor]:
        """Where the interval of each atom starts and ends, ``(K, A)``; empty for one that is not there."""
        before = (self.value[:, None, :] < self.value[:, :, None]) * self.mass[:, None, :]
        plain = self.smooth(self.value.T).T
        start = self._rest[:, None] * _ndtr(plain) + before.sum(-1)
        return start, start + self.mass

    @property
    def _mixed(self) -> Tensor:
        """Columns that have atoms ``(K,)``."""
        return self.mass.sum(-1) > 0

    @property
    def _rest(self) -> Tensor:
        """Mass beside the atoms ``(K,)``."""
        return (1 - self.mass.sum(-1)).clamp_min(REST)

    def _atoms(
        self, i: int, values: Array, mass: Array, count: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Numbers of the values that are atoms, rising."""
        bounds = np.array([float(self.low[i]), float(self.high[i])]).astype(np.float32)
        bound = np.isin(values.astype(np.float32), bounds) & (count > 1)
        chosen = np.flatnonzero(bound | ((mass >= self.share) & (count > 1)))
        largest = chosen[np.argsort(-mass[chosen], kind="stable")]
        return np.sort(largest[: self.value.shape[1]])

    def _place(self, i: int, x: Array, reach: Array, log: bool) -> None:
        """Knots of column ``i`` from the values of its distribution function at ``x``, both rising."""
        line = np.log(np.maximum(x, np.finfo(np.float32).tiny)) if log else x
        levels = _ndtr(self.smooth.level).cpu().numpy()
        knots = np.interp(levels, reach, line)
        share = np.diff(reach, prepend=0.0)
        mean = np.average(line, weights=share)
        width = float(np.sqrt(np.average(np.square(line - mean), weights=share))) or 1.0
        ramp = 1e-5 * width * np.linspace(0, 1, len(knots))  # beyond the ends knots are equal
        self.smooth.log[i] = log
        self.smooth.knots[i] = torch.from_numpy(knots + ramp)
        self.smooth.width[i] = width


def _ndtr(y: Tensor) -> Tensor:
    """Distribution function of a standard normal; torch's own is 0 from 8.3 standard deviations on."""
    return log_ndtr(y).exp()


def _normal(lower: Tensor, upper: Tensor) -> Tensor:
    """Normal scores from a distribution function and its complement, the smaller of which has the digits."""
    tiny = torch.finfo(torch.float64).tiny
    tail = ndtri(torch.minimum(lower, upper).clamp_min(tiny))
    return torch.where(lower < upper, tail, -tail)


def _bounds(field: Field) -> tuple[float, float]:
    """Smallest and largest value, infinite where there is none."""
    if field.classes is not None:
        return 0.0, len(field.classes) - 1.0
    low = -math.inf if field.low is None else field.low
    return low, math.inf if field.high is None else field.high
