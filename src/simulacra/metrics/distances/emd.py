r"""Energy mover's distance of jets (arXiv:1902.02346), and the coverage and matching distance built on it.

.. math:: \mathrm{EMD}(a, b) = \min_f \sum_{ij} f_{ij} \theta_{ij}
          + \Big|\sum_i p_{T,i} - \sum_j p_{T,j}\Big|,

with the flow :math:`f` of transverse momentum from particles of one jet to those of the other and their
distance :math:`\theta` in :math:`(\eta, \phi)`: :math:`R = \beta = 1`, momenta not normalised, as in
energyflow. The missing momentum is a further particle at distance 1 from all others.

**COV** is the number of real jets that are the nearest of some generated jet, divided by the number of
generated jets; **MMD** the mean over real jets of the distance to the nearest generated jet: 100 jets of
each, ten times, as in jetnet 0.2.5 (arXiv:2106.11535, appendix C). They count jets, so that weighted ones are
drawn in proportion to their weights. Only nearest jets enter, so that pairs are skipped whose distance is
certainly larger (:mod:`simulacra.metrics.distances.emd_bound`): all but one in twenty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.metrics.distances.emd_bound import lower_bounds
from simulacra.metrics.engine.score import (
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    mean_and_spread,
    score_constructor,
)
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weights, probabilities
from simulacra.metrics.protocols.jets import clouds, tensors

Array = NDArray[np.float64]


def emd(first: Tensor, second: Tensor) -> float:
    """Energy mover's distance of two jets, in the unit of ptrel.

    Args:
        first: etarel, phirel, ptrel of its particles ``(N, 3)``; those with ptrel 0 do not matter.
        second: The same of the other jet ``(M, 3)``.
    """
    return _emd(_particles(first), _particles(second))


def emds(generated: Tensor, reference: Tensor) -> Tensor:
    """Distances ``(G, R)`` of all generated jets ``(G, N, 3)`` from all real ones ``(R, N, 3)``."""
    columns = [_particles(jet) for jet in reference]
    found = [[_emd(row, column) for column in columns] for row in map(_particles, generated)]
    return torch.tensor(found, dtype=torch.float64).reshape(len(generated), len(reference))


def nearest(generated: Tensor, reference: Tensor) -> Tensor:
    """:func:`emds` where a real jet may be the nearest of a generated one or the other way round, else
    infinity; the smallest of each row and column are there.
    """
    rows, columns = (list(map(_particles, jets)) for jets in (generated, reference))
    found = np.full((len(rows), len(columns)), np.inf)
    bounds = lower_bounds(*(jets.detach().double().numpy() for jets in (generated, reference)))
    tables = (
        (found, bounds, lambda row, column: _emd(rows[row], columns[column])),
        (found.T, bounds.T, lambda column, row: _emd(rows[row], columns[column])),
    )
    for table, lowest, distance in tables:
        for place, line in enumerate(table):
            smallest = line.min(initial=np.inf)
            for other in lowest[place].argsort():
                if lowest[place, other] > smallest:
                    break
                if np.isinf(line[other]):
                    line[other] = distance(place, other)
                smallest = min(smallest, line[other])
    return torch.from_numpy(found)


def coverage(distances: Tensor) -> float:
    """COV from distances ``(G, R)``."""
    return len(distances.argmin(1).unique()) / len(distances)


def matching_distance(distances: Tensor) -> float:
    """MMD from distances ``(G, R)``."""
    return float(distances.amin(0).mean())


def cov_mmd(
    reference: Tensor,
    generated: Tensor,
    samples: int = 100,
    batches: int = 10,
    seed: int = 42,
    weights: Weights = UNWEIGHTED,
) -> dict[str, Figure]:
    """``cov`` and ``mmd``: means over batches and their errors.

    Args:
        reference: Real jets ``(B, N, 3)`` with etarel, phirel, ptrel, 0 for padding.
        generated: Generated jets.
        samples: Jets drawn from each per batch, with replacement.
        batches: Number of batches.
        seed: Seed of the draws.
        weights: Weights of the real and of the generated jets, in proportion to which they are drawn.
    """
    if not len(reference) or not len(generated):
        raise NotRun(f"COV and MMD need jets, got {len(reference)} and {len(generated)}")
    rng = np.random.default_rng(seed)
    covered, matched = [], []
    for _ in range(batches):
        real, fake = (
            jets[torch.from_numpy(rng.choice(len(jets), size=samples, p=shares))]
            for jets, shares in zip(
                (reference, generated), map(probabilities, weights), strict=True
            )
        )
        distances = nearest(fake, real)
        covered.append(coverage(distances))
        matched.append(matching_distance(distances))
    return {"cov": _figure(covered), "mmd": _figure(matched)}


class CovMMD(TwoSampleMetric):
    """:func:`cov_mmd` of all jets ``(B, N, 3)`` that were seen.

    Args:
        samples: Jets drawn from each per batch.
        batches: Number of batches.
        seed: Seed of the draws.
    """

    higher_is_better = None

    def __init__(self, samples: int = 100, batches: int = 10, seed: int = 42) -> None:
        super().__init__()
        self.samples, self.batches, self.seed = samples, batches, seed

    def compute(self) -> dict[str, Tensor]:
        """``cov`` and ``mmd``, each with its twin ``…/error``."""
        return tensors(cov_mmd(*self.rows(), self.samples, self.batches, self.seed))


@score_constructor
def cov_mmd_score(
    reference: Judged, generated: Judged, seed: int, samples: Count = 100, batches: Count = 10
) -> dict[str, Figure]:
    """``cov`` and ``mmd``; arguments as for :func:`cov_mmd`."""
    pair = clouds(reference.events), clouds(generated.events)
    return cov_mmd(*pair, samples, batches, seed, (reference.weight, generated.weight))


def _figure(values: list[float]) -> Figure:
    """Mean over batches; batches are nearly independent, so its error falls with their number."""
    value, spread = mean_and_spread(values)
    error = spread / math.sqrt(len(values) - 1) if len(values) > 1 else None
    return Figure(value, error, power=0.0)


def _particles(jet: Tensor) -> Array:
    particles = jet.detach().double().numpy()
    if not np.isfinite(particles).all() or (particles[:, 2] < 0).any():
        raise NotRun("the energy mover's distance needs finite particles with ptrel >= 0")
    return np.asfortranarray(particles[particles[:, 2] > 0])  # its columns are contiguous


def _emd(first: Array, second: Array) -> float:
    excess = second[:, 2].sum() - first[:, 2].sum()
    if not len(first) or not len(second):
        return float(abs(excess))
    cost = cdist(first[:, :2], second[:, :2])
    weights = [first[:, 2], second[:, 2]]
    lighter = 0 if excess > 0 else 1
    if excess:
        weights[lighter] = np.append(weights[lighter], abs(excess))
        cost = np.concatenate([cost, np.ones_like(cost.take([0], axis=lighter))], axis=lighter)
    return float(_transport()(*weights, cost, center_dual=False, check_marginals=False))


@cache
def _transport() -> Callable[..., Any]:
    """POT's network simplex; the package is large, and nothing else needs it."""
    try:
        from ot import emd2
    except ImportError as error:
        raise NotRun(
            "the energy mover's distance needs the package POT: install simulacra[jets]"
        ) from error
    return emd2  # type: ignore[no-any-return]  # the package has no types
