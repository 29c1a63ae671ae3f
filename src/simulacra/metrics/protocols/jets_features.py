r"""Distances of jets in feature space: FPD and KPD of energy-flow polynomials, KL divergences of histograms.

The features of FPD and KPD (arXiv:2211.10295) are the 36 energy-flow polynomials of at most four edges.

The divergence of one observable is

.. math:: D = \sum_k p_k \ln \frac{p_k}{\max(q_k, 10^{-8})},

where :math:`p` and :math:`q` are the shares of reference and generated values in bins whose edges are 30
quantiles of the reference, evenly spaced from 0.1 to 99.9 %, and two open bins beyond them: nothing is
dropped. The edges are those of the public code of the EPiC-FM group (which divides by the width of the bins
and leaves the open ones out). Truth scores about (bins - 1)/2 (1/n + 1/m) for n and m independent values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core.constructors import constructor
from simulacra.metrics.engine.columns import poisson_weights, spread
from simulacra.metrics.engine.sample import Column
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weight, Weights, quantiles
from simulacra.metrics.protocols.jets import clouds
from simulacra.physics.base import even_edges
from simulacra.physics.efp import D4, efps

OBSERVABLES = {"etarel": "etarel", "phirel": "phirel", "ptrel": "ptrel", "mass": "mass_rel"}
"""Observable behind each key ``kl/<feature>``."""
EDGES, TAIL = 30, 0.001
SMALLEST = 1e-8
"""Share of generated values that an empty bin counts as."""
REPLICAS = 20
"""Bootstrap replicas of the jets behind an error."""


@constructor
def polynomials(jets: Judged) -> Tensor:
    """The 36 energy-flow polynomials ``(N, 36)`` of at most four edges, of which jets' FPD and KPD are."""
    return efps(clouds(jets.events), D4)


def kl_histogram(
    reference: Tensor, generated: Tensor, edges: Tensor, weights: Weights = UNWEIGHTED
) -> float:
    """Kullback-Leibler divergence of the generated from the reference histogram [nats].

    Args:
        reference: Real values ``(N,)``.
        generated: Generated values ``(M,)``.
        edges: Edges of the bins, rising; beyond the outer ones are two more, open bins.
        weights: Weights of the real and of the generated values.
    """
    values = reference.double(), generated.double()
    shares = [
        _shares(torch.bucketize(x, edges, right=True), weight, len(edges) + 1)
        for x, weight in zip(values, weights, strict=True)
    ]
    return float(_divergence(*shares))


def kl_edges(reference: Tensor, weight: Weight = None) -> Tensor:
    """The edges of the module's docstring; equal ones count once."""
    levels = even_edges(TAIL, 1 - TAIL, EDGES - 1)
    if weight is not None:
        return quantiles(reference, levels.tolist(), weight).unique()
    ordered = reference.double().sort().values
    position = levels * (len(ordered) - 1)
    low = position.long()
    high = (low + 1).clamp_max(len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], position - low).unique()


@score_constructor
def kl_score(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """``kl/etarel``, ``kl/phirel``, ``kl/ptrel`` and ``kl/mass``, errors from a bootstrap of jets."""
    pair = reference.sample, generated.sample
    found: dict[str, Figure] = {}
    for key, name in OBSERVABLES.items():
        columns = [s.columns[name] for s in pair if name in s.columns and s.columns[name].n]
        if len(columns) < len(pair):
            raise NotRun(f"KL divergences of jets need {name} in both samples")
        replicas = [poisson_weights(s.weight, REPLICAS, seed + i) for i, s in enumerate(pair)]
        weights = reference.sample.weights(name), generated.sample.weights(name)
        found[f"kl/{key}"] = _figure(columns, replicas, weights)
    return found


def _figure(columns: Sequence[Column], drawn: Sequence[Tensor], weights: Weights) -> Figure:
    first, second = columns
    edges = kl_edges(first.values, weights[0])
    bins = [torch.bucketize(column.values, edges, right=True) for column in columns]
    owners = [column.event for column in columns]
    replicas = []
    for pair in zip(*drawn, strict=True):
        shares = [
            _shares(index, weight[owner], len(edges) + 1)
            for index, owner, weight in zip(bins, owners, pair, strict=True)
        ]
        replicas.append(float(_divergence(*shares)))
    value = kl_histogram(first.values, second.values, edges, weights)
    return Figure(value, spread(replicas), power=1.0)


def _shares(index: Tensor, weight: Tensor | None, bins: int) -> Tensor:
    counts = torch.bincount(index, weight, minlength=bins).double()
    return counts / counts.sum()


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    return torch.special.xlogy(p, p / q.clamp_min(SMALLEST)).sum()
