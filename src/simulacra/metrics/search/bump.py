r"""A bump in a falling mass spectrum, by the profile likelihood of the events within a window.

The spectrum beside the window is that of two jets,

.. math:: \frac{dN}{dm} = p_0 (1 - x)^{p_1} x^{p_2 + p_3 \ln x}, \qquad x = \frac{m}{E},

whose logarithm is linear in four numbers. The events of each bin beside the window, and those of the whole
window as one bin, are Poisson numbers; within the window there may be any number :math:`s` of others. With
:math:`\hat p, \hat s` the best fit and :math:`\tilde p` that with :math:`s = 0`,

.. math:: z = \mathrm{sign}(\hat s) \sqrt{2 \ln \frac{L(\hat p, \hat s)}{L(\tilde p, 0)}}, \qquad
          p = 1 - \Phi(z).

:math:`\hat p` is the fit to the bins beside the window alone, and :math:`\hat s` makes up for what is missing
within. Weighted events count as so many events as have the same relative error, the same factor for all.

Reference: Cowan et al., arXiv:1007.1727, equation 12 with the distribution of section 3.3, continued to
deficits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import norm
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Positive

STEPS, HALVINGS = 200, 30
"""Steps of scoring, at most, and how often one that worsens the fit is halved."""
TOLERANCE = 1e-9
"""Gain of log-likelihood at which a fit ends."""
TERMS, FILLED = 4, 6
"""Numbers of the function, and bins beside the window that hold events, at least."""


@constructor
@dataclass(frozen=True)
class Spectrum:
    """Where and how finely a mass spectrum is fitted.

    Args:
        ends: Lowest and highest mass; the spectrum falls from the first to the second.
        step: Width of the bins, which are made to fit between the ends and the window.
        energy: :math:`E`, at which the spectrum ends, in the unit of the mass.

    Raises:
        UserError: If the ends do not lie in order below the energy.
    """

    ends: Sequence[float]
    step: Positive
    energy: Positive

    def __post_init__(self) -> None:
        if len(self.ends) != 2 or not 0 < self.ends[0] < self.ends[1] < self.energy:
            raise UserError(
                f"a spectrum goes from a positive mass to a higher one below {self.energy:g}, got "
                f"{list(self.ends)}"
            )

    def bump(
        self, mass: Tensor, window: tuple[float, float], weight: Tensor | None = None
    ) -> dict[str, float]:
        """What a window holds beyond what its surroundings lead to expect.

        Args:
            mass: Of all events ``(N,)``; those beyond the ends are left out.
            window: Its ends, the lower one belongs to it.
            weight: Weights of the events ``(N,)``, not negative, or None.

        Returns:
            ``found`` and ``expected``, sums of weights within the window, ``expected/error`` of the fit,
            ``significance`` in standard deviations, ``p`` for as large an excess by chance, and ``deviance``
            of the bins beside the window over their degrees of freedom, about 1 where bins are full.

        Raises:
            UserError: If the window does not lie between the ends, fewer than six bins beside it hold events,
                or the fit does not end.
        """
        edges, group = self._bins(window)
        w = torch.ones_like(mass, dtype=torch.float64) if weight is None else weight.double()
        inside = (mass >= edges[0]) & (mass < edges[-1])
        w, place = w[inside], torch.bucketize(mass[inside].double(), edges, right=True) - 1
        counts = torch.zeros(int(group.max()) + 1, dtype=torch.float64)
        counts.index_add_(0, group[place], w)
        if int((counts[1:] > 0).sum()) < FILLED:
            raise UserError(
                f"a spectrum is fitted to {FILLED} bins or more that hold events, got "
                f"{int((counts[1:] > 0).sum())} beside the window"
            )
        scale = float(w.square().sum() / w.sum())
        counts = counts / scale
        rows = self._rows(edges)
        beside = group > 0
        start = torch.zeros(TERMS, dtype=torch.float64)
        start[0] = (counts[1:].sum() / beside.sum()).log() / rows[0, 0]
        alone = _fit(rows[beside], group[beside] - 1, counts[1:], start)
        cells = (rows[~beside] @ alone.theta).exp()
        slope = cells @ rows[~beside]
        expected, found = float(cells.sum()), float(counts[0])
        joint = _fit(rows, group, counts, alone.theta)
        free = alone.value + (found * math.log(found) - found if found else 0.0)
        z = math.copysign(math.sqrt(max(2 * (free - joint.value), 0.0)), found - expected)
        full = counts[1:]
        best = float((torch.xlogy(full, full) - full).sum())
        return {
            "found": found * scale,
            "expected": expected * scale,
            "expected/error": scale * math.sqrt(float(slope @ alone.covariance @ slope)),
            "significance": z,
            "p": float(norm.sf(z)),
            "deviance": 2 * (best - alone.value) / (len(full) - TERMS),
        }

    def _bins(self, window: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Edges ``(K + 1,)``, and the number of the Poisson count that each bin belongs to ``(K,)``: 0 in the
        window.
        """
        low, high = self.ends
        if not (low <= window[0] < window[1] <= high) or (low, high) == window:
            raise UserError(
                f"a window lies within {low:g} to {high:g}, where the spectrum is fitted, got {list(window)}"
            )
        parts, groups, count = [], [], 0
        for begin, end in ((low, window[0]), window, (window[1], high)):
            number = max(1, round((end - begin) / self.step)) if end > begin else 0
            parts.append(torch.linspace(begin, end, number + 1, dtype=torch.float64)[:-1])
            own = (begin, end) == window
            groups.append(torch.zeros(number) if own else count + 1 + torch.arange(number))
            count += 0 if own else number
        edges = torch.cat([*parts, torch.tensor([high], dtype=torch.float64)])
        return edges, torch.cat(groups).long()

    def _rows(self, edges: Tensor) -> Tensor:
        """What the logarithm of the count of each bin is linear in, ``(K, 4)`` with orthonormal columns, the
        first of which is constant; the bins are so narrow that the function is taken at their centres.
        """
        log = ((edges[1:] + edges[:-1]) / 2 / self.energy).log()
        rows = torch.stack([torch.ones_like(log), torch.log1p(-log.exp()), log, log.square()], 1)
        return torch.linalg.qr(rows)[0]


@dataclass(frozen=True)
class _Fitted:
    """Numbers of the function, their covariance, and the log-likelihood without its constant."""

    theta: Tensor
    covariance: Tensor
    value: float


def _fit(rows: Tensor, group: Tensor, counts: Tensor, theta: Tensor) -> _Fitted:
    """Fisher scoring of Poisson counts ``(G,)``, each the sum of the bins ``(K,)`` of its group."""

    def rates(theta: Tensor) -> tuple[Tensor, Tensor]:
        cells = (rows @ theta).clamp(max=FARTHEST).exp()
        return cells, torch.zeros_like(counts).index_add_(0, group, cells)

    def value(rate: Tensor) -> float:
        return float((torch.xlogy(counts, rate) - rate).sum())

    cells, rate = rates(theta)
    best = value(rate)
    for _ in range(STEPS):
        slope = counts.new_zeros(len(counts), TERMS)
        slope.index_add_(0, group, cells[:, None] * rows)
        information = slope.T @ (slope / rate[:, None])
        step = torch.linalg.solve(information, slope.T @ (counts / rate - 1))
        for _ in range(HALVINGS):
            cells, rate = rates(theta + step)
            found = value(rate)
            if found >= best:
                break
            step = step / 2
        else:
            found = best
        gained = found - best
        if gained > 0:
            theta, best = theta + step, found
        cells, rate = rates(theta)
        if gained < TOLERANCE:
            return _Fitted(theta, torch.linalg.inv(information), best)
    raise UserError(
        f"the fit of a spectrum of {float(counts.sum()):g} events has not ended after {STEPS} steps"
    )


FARTHEST = 60.0
"""Logarithm of the count of a bin, at most."""
