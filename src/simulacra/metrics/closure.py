r"""Closure of a calibration: how far calibrated values are from true ones on average, in bins of true values.

With the ratio :math:`q = c / t` of calibrated to true values and event weights, a bin :math:`b` has

.. math:: C_b = \langle q \rangle_b, \qquad \sigma_b / C_b,

which are 1 and the resolution of a calibration that is right on average. Only the shortest interval with a
share of the events of a bin may count for :math:`C_b`, so that tails do not. How it depends on a feature is
the root mean square over bins and thirds of the feature :math:`g` of :math:`C_{bg} / C_b - 1`; its floor is
the same of features that are shuffled within each bin. Errors are those of a bootstrap of events.

References: closure of numerical inversion, arXiv:1609.05195, section 2; dependence that is left,
arXiv:1910.03773.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.columns import poisson_weights, spread
from simulacra.metrics.engine.response import peak
from simulacra.metrics.engine.weighted import quantiles

REPLICAS = 30
"""Bootstrap replicas behind each error."""
GROUPS = 3
"""Of a feature in each bin, of equal content."""


@dataclass(frozen=True)
class Binned:
    """True values that lie in bins.

    Args:
        edges: Edges of the bins ``(K + 1,)``, in the unit of the values.
        place: Bin of each value ``(N,)``; -1 outside.
    """

    edges: Tensor
    place: Tensor

    @classmethod
    def of(
        cls, true: Tensor, bins: int, fewest: int, between: tuple[float, float] | None
    ) -> Binned:
        """Bins of equal numbers of events.

        Args:
            true: True values ``(N,)``.
            bins: Number of bins, at most.
            fewest: Events of a bin, at least; there are fewer bins where that asks for it.
            between: Range of the bins; None: that of the values.

        Raises:
            UserError: If not even one bin has so many events.
        """
        true = true.double()
        low, high = (float(true.min()), float(true.max())) if between is None else between
        inside = true[(true >= low) & (true <= high)]
        bins = min(bins, len(inside) // fewest)
        if bins < 1:
            raise UserError(
                f"a closure needs {fewest} events in a bin, and there are {len(inside)} between {low:g} and "
                f"{high:g}"
            )
        levels = [k / bins for k in range(1, bins)]
        inner = quantiles(inside, levels, torch.ones_like(inside)) if levels else inside[:0]
        edges = torch.cat([inside.min()[None], inner, inside.max()[None]])
        place = torch.bucketize(true, edges[1:-1].contiguous(), right=True)
        return cls(edges, torch.where((true >= low) & (true <= high), place, -1))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def rows(self, k: int) -> Tensor:
        """Numbers of the events of a bin ``(n,)``."""
        return (self.place == k).nonzero()[:, 0]


@dataclass(frozen=True)
class Closure:
    """Closure and resolution of each bin ``(K,)``, then of bootstrap replicas, ``(1 + R, K)`` each."""

    centre: Tensor
    resolution: Tensor

    @property
    def error(self) -> Tensor:
        """Statistical errors of the closure, ``(K,)``."""
        return self.centre[1:].std(0)

    @property
    def resolution_error(self) -> Tensor:
        """Those of the resolution, ``(K,)``."""
        return self.resolution[1:].std(0)

    @property
    def farthest(self) -> int:
        """The bin that is farthest from 1."""
        return int((self.centre[0] - 1).abs().argmax())

    @property
    def floor(self) -> float:
        """Largest distance from its own value that a bin has by chance, the mean over replicas."""
        return float((self.centre[1:] - self.centre[0]).abs().amax(1).mean())

    def excess(self, tolerance: float) -> float:
        """Largest distance from 1 over what is allowed, the larger of a tolerance and three errors."""
        allowed = (3 * self.error).clamp_min(tolerance)
        return float(((self.centre[0] - 1).abs() / allowed).max())


def closure(
    ratio: Tensor, weight: Tensor, binned: Binned, seed: int, share: float = 1.0
) -> Closure:
    """Closure of calibrated over true values.

    Args:
        ratio: Calibrated over true values ``(N,)``.
        weight: Event weights ``(N,)``.
        binned: The bins.
        seed: Seed of the bootstrap.
        share: Share of the events of a bin, in the shortest interval, that count.
    """
    ratio, weight = ratio.double(), weight.double()
    centres, widths = [], []
    for k in range(binned.bins):
        rows = binned.rows(k)
        values, own = ratio[rows], weight[rows]
        sets = torch.cat([own[None], poisson_weights(own, REPLICAS, seed + k)])
        found = [peak(values[w > 0], share, w[w > 0]) for w in sets]
        centres.append(torch.tensor([item.mean for item in found], dtype=torch.float64))
        whole = found if share == 1 else [peak(values[w > 0], 1.0, w[w > 0]) for w in sets]
        relative = [item.width / item.mean for item in whole]
        widths.append(torch.tensor(relative, dtype=torch.float64))
    return Closure(torch.stack(centres, 1), torch.stack(widths, 1))


def dependence(ratio: Tensor, feature: Tensor, binned: Binned, seed: int) -> dict[str, float]:
    """``value``, ``error`` and ``floor`` of the dependence of the closure on a feature; events count alike.

    Args:
        ratio: Calibrated over true values ``(N,)``.
        feature: The feature ``(N,)``.
        binned: The bins.
        seed: Seed of bootstrap and shuffles.
    """
    generator = torch.Generator().manual_seed(seed)
    ratio, feature = ratio.double(), feature.double()
    levels = [k / GROUPS for k in range(1, GROUPS)]
    squares, chance = [], []
    for k in range(binned.bins):
        rows = binned.rows(k)
        values, seen = ratio[rows], feature[rows]
        ends = quantiles(seen, levels, torch.ones_like(seen))
        group = torch.nn.functional.one_hot(
            torch.bucketize(seen, ends, right=True), GROUPS
        ).double()
        group = group[:, group.sum(0) > 0]
        ones = torch.ones_like(values)
        weight = torch.cat([ones[None], poisson_weights(ones, REPLICAS, seed + k)])
        squares.append(_apart(values, group, weight))
        shuffled = [
            _apart(values[torch.randperm(len(values), generator=generator)], group, ones[None])
            for _ in range(REPLICAS)
        ]
        chance.append(torch.cat(shuffled))
    found, floor = (torch.stack(part).mean(0).sqrt() for part in (squares, chance))
    return {"value": float(found[0]), "error": spread(found[1:]), "floor": float(floor.mean())}


def _apart(values: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """Mean square over groups of their mean over that of all, less 1, for weights ``(R, n)``: ``(R,)``."""
    counts = (weight @ group).clamp_min(1e-12)
    whole = (weight @ values) / weight.sum(1)
    means = ((weight * values) @ group) / counts
    return (means / whole[:, None] - 1).square().mean(1)


def powered(true: Tensor, power: float, knots: int = 41) -> Tensor:
    r"""Weights ``(N,)`` that give true values the spectrum :math:`t^{-n}`, of mean 1.

    They are :math:`t^{-n}` over the density of the values, which is constant in :math:`\ln t` between
    quantiles.

    Args:
        true: True values ``(N,)``, above 0, whatever their spectrum is.
        power: ``n``; 0 is a flat spectrum.
        knots: Number of quantiles.
    """
    logs = true.double().log()
    edges = torch.quantile(logs, torch.linspace(0, 1, knots, dtype=torch.float64)).unique()
    if len(edges) < 2:
        return torch.ones_like(logs)
    place = torch.bucketize(logs, edges[1:-1].contiguous(), right=True)
    count = torch.bincount(place, minlength=len(edges) - 1).double()
    density = (count / edges.diff())[place]
    weight = ((1 - power) * (logs - logs.mean())).exp() / density
    return weight / weight.mean()
