r"""Response, linearity and resolution of a calorimeter as a fit over the incident energy.

With the seen over the incident energy :math:`r` of each shower, :math:`E` in GeV and :math:`E_0` the
geometric mean of the true showers' energies,

.. math:: \langle r \rangle = R \left(1 + k \ln \tfrac{E}{E_0}\right), \qquad
          \frac{\sigma}{E} = \sqrt{\frac{a^2}{E} + b^2},

where :math:`\sigma / E` is the standard deviation of :math:`r / \langle r \rangle`. Both are fitted to single
showers by least squares in turn, the squared deviations :math:`\delta^2` with weights :math:`1 / v^2`, where
:math:`v = a^2 / E + b^2`; showers beyond :data:`CLIP` standard deviations are left out of the fits, and their
share is a figure of its own. Neither :math:`a^2` nor :math:`b^2` may be negative, but for errors and
differences in :math:`\sigma` they may. Errors are those of a bootstrap of whole showers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from simulacra.metrics.engine.curve import Series
from simulacra.metrics.engine.response import MIN_EVENTS, peak
from simulacra.metrics.engine.score import NotRun
from simulacra.metrics.engine.weighted import Weight, effective, mean, part
from simulacra.metrics.protocols.reconstruction_estimate import Estimate, estimate
from simulacra.physics.base import even_edges

CLIP = 4.0
"""Standard deviations beyond which a shower is left out of the fits."""
ROUNDS = 12
"""Fits of mean and variance in turn."""
FEWEST = 100
"""Showers without which there is no fit."""
STEPS = 60
"""Steps in which a fit is drawn."""
SPAN = 1.2
"""Largest over smallest energy without which there is none."""


@dataclass(frozen=True)
class Fit:
    """What was fitted, to the sample and to each of its replicas.

    Args:
        middle: :math:`E_0` [GeV].
        response: :math:`R`, ``(1 + R,)``.
        slope: :math:`k`, ``(1 + R,)``.
        squares: :math:`a^2` [GeV] and :math:`b^2`, ``(1 + R, 2)``, not negative.
        free: The same without that bound.
        tails: Share of showers that were left out ``(1 + R,)``.
        showers: Effective number of showers.
    """

    middle: float
    response: Tensor
    slope: Tensor
    squares: Tensor
    free: Tensor
    tails: Tensor
    showers: float

    def estimates(self) -> dict[str, Estimate]:
        """Fitted numbers by name; ``resolution`` is the one at :math:`E_0`."""
        at = self.squares[:, 0] / self.middle + self.squares[:, 1]
        tails = estimate(self.tails)
        return {
            "response": estimate(self.response),
            "linearity": estimate(self.slope),
            "resolution": estimate(at.sqrt()),
            "stochastic": Estimate.root(self.free[:, 0], float(self.squares[0, 0])),
            "constant": Estimate.root(self.free[:, 1], float(self.squares[0, 1])),
            # one shower more or less is what can be told
            "tails": replace(tails, error=max(tails.error, 1 / self.showers)),
        }

    def mean(self, energy: Tensor) -> Tensor:
        """Mean response at energies [GeV]."""
        return self.response[0] * (1 + self.slope[0] * (energy / self.middle).log())

    def resolution(self, energy: Tensor) -> Tensor:
        """Relative resolution at energies [GeV]."""
        return (self.squares[0, 0] / energy + self.squares[0, 1]).sqrt()


def fit(energy: Tensor, ratio: Tensor, weights: Tensor, middle: float) -> Fit:
    """Fit a sample and its replicas.

    Args:
        energy: Incident energy ``(N,)`` [GeV].
        ratio: Seen over incident energy ``(N,)``.
        weights: Weights of the showers in the sample and in each replica ``(1 + R, N)``.
        middle: :math:`E_0` [GeV].

    Raises:
        NotRun: With fewer than 100 showers, or if all have about the same energy.
    """
    if len(energy) < FEWEST or float(energy.max()) < SPAN * float(energy.min()):
        raise NotRun(
            f"a fit over the energy needs {FEWEST} showers whose energies differ by a factor of {SPAN:g}"
        )
    log, inverse = (energy / middle).log(), 1 / energy
    variance = kept = torch.ones_like(weights)
    for _ in range(ROUNDS):
        used = weights * kept
        first, slope = _line(log, ratio, used / variance)
        square = (ratio / (first + slope * log) - 1).square()
        share = used / variance.square()
        constant, stochastic = _line(inverse, square, share)
        free = torch.cat([stochastic, constant], 1)
        squares = _bounded(free, inverse, square, share)
        variance = (squares[:, :1] * inverse + squares[:, 1:]).clamp(min=1e-12)
        kept = (square <= CLIP**2 * variance).double()
    tails = 1 - (weights * kept).sum(1) / weights.sum(1)
    slope = (slope / first)[:, 0]
    return Fit(middle, first[:, 0], slope, squares, free, tails, effective(weights[0]))


def _line(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Value at 0 and slope ``(R, 1)`` of least squares; ``x`` is ``(N,)``, ``y`` may be."""
    total = weight.sum(1, keepdim=True)
    middle, height = ((weight * item).sum(1, keepdim=True) / total for item in (x, y))
    moved = x - middle
    slope = (weight * moved * (y - height)).sum(1, keepdim=True) / (weight * moved.square()).sum(
        1, keepdim=True
    )
    return height - slope * middle, slope


def _bounded(free: Tensor, inverse: Tensor, square: Tensor, weight: Tensor) -> Tensor:
    """Least squares of ``square`` with both terms at or above 0, ``(R, 2)``."""
    alone = torch.stack(
        [
            (weight * inverse * square).sum(1) / (weight * inverse.square()).sum(1),
            (weight * square).sum(1) / weight.sum(1),
        ],
        1,
    )
    none = torch.zeros_like(alone[:, 0])
    found = torch.where(free[:, 1:] < 0, torch.stack([alone[:, 0], none], 1), free)
    return torch.where(free[:, :1] < 0, torch.stack([none, alone[:, 1]], 1), found)


def drawn(
    found: Fit, energy: Tensor, ratio: Tensor, weight: Weight, edges: Tensor
) -> Mapping[str, Series]:
    """Mean response and resolution in bins of energy, without the showers that were left out, and the fits.

    Args:
        found: The fit.
        energy: Incident energy ``(N,)`` [GeV].
        ratio: Seen over incident energy ``(N,)``.
        weight: Weights of the showers.
        edges: Of the bins ``(K + 1,)`` [GeV].
    """
    kept = (ratio / found.mean(energy) - 1).abs() <= CLIP * found.resolution(energy)
    rows = np.full((len(edges) - 1, 5), np.nan)
    for row, (low, high) in zip(rows, pairwise(edges.tolist()), strict=True):
        inside = ((energy >= low) & (energy < high) & kept).nonzero()[:, 0]
        if len(inside) >= MIN_EVENTS:
            some = part(weight, inside)
            seen = peak(ratio[inside], 1.0, some)
            width = seen.width / seen.mean, seen.width_error / seen.mean
            row[:] = float(mean(energy[inside], some)), seen.mean, seen.mean_error, *width
    fine = even_edges(float(edges[0]), float(edges[-1]), STEPS, log=True)
    lines = {"response": found.mean(fine), "resolution": found.resolution(fine)}
    return {
        name: Series(rows[:, 0], value, error, (fine.numpy(), line.numpy()))
        for (name, line), value, error in zip(
            lines.items(), (rows[:, 1], rows[:, 3]), (rows[:, 2], rows[:, 4]), strict=True
        )
    }
