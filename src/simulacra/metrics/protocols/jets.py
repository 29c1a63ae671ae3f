r"""W1M, W1P and W1EFP, the Wasserstein distances that papers on JetNet quote (arXiv:2106.11535).

``w1m`` is the distance between the distributions of the relative jet mass of summed massless particles,
``w1p`` that of each feature of unpadded particles (:math:`\eta, \phi, p_T`), ``w1efp`` that of each of the
five connected energy-flow polynomials of four vertices and four edges. Tables quote the mean over the
features (:math:`10^{-3}`) and over the polynomials (:math:`10^{-5}`).

Each is measured between 50,000 jets drawn with replacement from either sample, five times; values and
published errors are mean and standard deviation over the five, as in the library jetnet 0.2.5, whose draws
numpy's default generator repeats with a seed; weighted jets are drawn in proportion to their weights.
Particles whose features are all 0 are padding, as there.

The error of a score is that between samples. It comes from random halves :math:`A, \bar A` of the jets of
both,

.. math:: \sigma^2 = \tfrac14 \langle (d_A - d_{\bar A})^2 \rangle,

(McCarthy, Review of the International Statistical Institute 37 (1969) 239): halves are independent of each
other, and the variance of a distance falls as 1/N, so that this holds for clearly different samples and for
two of the truth alike. There a distance lies at its lower end, and what small changes of the weights do to
it (draws from the same jets, a jackknife) is 1.5 times its fluctuation. The errors of W1M between 1,500 and
1,500 top jets are 1.13 times its spread over 100 pairs of the truth, and 1.0, 1.1, 0.9 and 0.95 times that
over 60 pairs with masses times 1.01, 1.02, 1.05 and 1.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.metrics.distances.wasserstein import Union
from simulacra.metrics.engine.score import (
    Events,
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    chunks,
    score_constructor,
)
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weights, probabilities
from simulacra.physics.efp import N4_D4, efps
from simulacra.physics.jets import four_momentum

FEATURES = ("etarel", "phirel", "ptrel")
POLYNOMIALS = tuple("*".join(name) for name in N4_D4)
CHUNK = 8192
"""Jets that are read at a time."""


@dataclass(frozen=True)
class Draws:
    """How jets are drawn.

    Args:
        samples: Jets drawn from each sample, with replacement.
        batches: Number of draws.
        seed: Seed of the draws.
        weights: Weights of the real and of the generated jets, in proportion to which they are drawn.
    """

    samples: int = 50_000
    batches: int = 5
    seed: int = 42
    weights: Weights = UNWEIGHTED

    def counts(self, n: int, m: int) -> list[tuple[Tensor, Tensor]]:
        """How often each jet of either sample is drawn, float64 ``(n,)`` and ``(m,)`` per batch."""
        if not n or not m:
            raise NotRun(f"W1 distances of jets need jets in both samples, got {n} and {m}")
        generator = np.random.default_rng(self.seed)
        p, q = map(probabilities, self.weights)
        return [
            (self._counts(n, generator, p), self._counts(m, generator, q))
            for _ in range(self.batches)
        ]

    def _counts(
        self, n: int, generator: np.random.Generator, shares: NDArray[np.float64] | None
    ) -> Tensor:
        drawn = generator.choice(n, size=self.samples, p=shares)
        return torch.from_numpy(np.bincount(drawn, minlength=n)).double()

    def figure(self, distances: Tensor) -> Figure:
        """Mean and (population) standard deviation of distances ``(batches,)``."""
        spread = float(distances.std(unbiased=False))
        return Figure(float(distances.mean()), spread, power=0.5, draws=self.samples)


STANDARD = Draws()
HALVES = 30
"""Random halves behind the error of a score."""
Rows = Sequence[tuple[Tensor, Tensor]]
"""Weights of the jets of both samples, ``(n,)`` and ``(m,)``, of one distance each."""


def w1m(reference: Tensor, generated: Tensor, draws: Draws = STANDARD) -> Figure:
    """Distance of relative jet masses.

    Args:
        reference: etarel, phirel, ptrel of real jets ``(B, N, 3)``, 0 for padding.
        generated: The same of generated jets.
        draws: How jets are drawn.
    """
    counts = draws.counts(len(reference), len(generated))
    return draws.figure(_masses_apart(reference, generated, counts)[:, 0])


def w1p(reference: Tensor, generated: Tensor, draws: Draws = STANDARD) -> dict[str, Figure]:
    """Distance of each feature of unpadded particles; arguments as for :func:`w1m`.

    Returns:
        One figure per feature, and under ``"mean"`` the mean over them, whose draws are averaged first.
    """
    counts = draws.counts(len(reference), len(generated))
    return _figures(_particles_apart(reference, generated, counts), FEATURES, draws)


def w1efp(reference: Tensor, generated: Tensor, draws: Draws = STANDARD) -> dict[str, Figure]:
    """Distance of each energy-flow polynomial; arguments as for :func:`w1m`.

    Returns:
        One figure per polynomial, and under ``"mean"`` the mean over them, whose draws are averaged first.
    """
    counts = draws.counts(len(reference), len(generated))
    return _figures(_polynomials_apart(reference, generated, counts), POLYNOMIALS, draws)


@score_constructor
def w1_score(
    reference: Judged, generated: Judged, seed: int, samples: Count = 50_000, batches: Count = 5
) -> dict[str, Figure]:
    r"""``w1m``, ``w1p``, ``w1p/<feature>``, ``w1efp`` and ``w1efp/<polynomial>``.

    Errors are :math:`\sigma` of the module's docstring times :math:`\sqrt{1 + 2 / (b n h)}` for the draws,
    :math:`b` times :math:`n` jets of samples with effective numbers :math:`N, M` and :math:`h = 1/N + 1/M`;
    the published one, the spread of the draws, is ``w1m/draw_error`` and so on.

    Args:
        reference: Real jets.
        generated: Generated jets.
        seed: Seed of the draws.
        samples: Jets drawn from each, with replacement.
        batches: Number of draws.
    """
    pair = clouds(reference.events), clouds(generated.events)
    draws = Draws(samples, batches, seed, (reference.weight, generated.weight))
    rows = [*draws.counts(*map(len, pair)), *_halves(pair, draws.weights, seed)]
    few = 2 / (samples * batches) / (1 / reference.effective + 1 / generated.effective)
    figures: dict[str, Figure] = {}
    for key, names, distances in (
        ("w1m", (), _masses_apart(*pair, rows)),
        ("w1p", FEATURES, _particles_apart(*pair, rows)),
        ("w1efp", POLYNOMIALS, _polynomials_apart(*pair, rows)),
    ):
        drawn, halves = distances.split([batches, 2 * HALVES])
        found = _figures(drawn, names, draws)
        for name, part in (("mean", halves.mean(1)), *zip(names, halves.T, strict=False)):
            first, second = part.view(HALVES, 2).unbind(1)
            error = float((first - second).square().mean().sqrt()) / 2 * math.sqrt(1 + few)
            found[name] = replace(
                found[name], error=error, details={"draw_error": found[name].error or 0.0}
            )
        figures |= _named(key, found)
    return figures


def _halves(pair: Sequence[Tensor], weights: Weights, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Weights of :data:`HALVES` random halves of both samples, each followed by the other half."""
    generator = torch.Generator().manual_seed(seed)
    own = [
        torch.ones(len(jets), dtype=torch.float64) if weight is None else weight
        for jets, weight in zip(pair, weights, strict=True)
    ]
    found = []
    for _ in range(HALVES):
        chosen = [
            torch.randperm(len(weight), generator=generator) < len(weight) // 2 for weight in own
        ]
        for half in (chosen, [~mask for mask in chosen]):
            first, second = (weight * mask for weight, mask in zip(own, half, strict=True))
            found.append((first, second))
    return found


def clouds(events: Events) -> Tensor:
    """etarel, phirel and ptrel of all jets ``(B, N, 3)``, exactly 0 for padding.

    Raises:
        NotRun: If the events are no clouds with a mask.
    """
    parts = []
    for batch in chunks(events, CHUNK):
        if batch.mask is None or batch.x.ndim != 3 or batch.x.shape[-1] < len(FEATURES):
            raise NotRun(
                f"jet scores need clouds of particles, got events of shape {tuple(batch.x.shape[1:])}"
            )
        parts.append(batch.x[..., : len(FEATURES)].detach().cpu())
    return torch.cat(parts) if parts else torch.zeros(0, 1, len(FEATURES))


class _JetDistance(TwoSampleMetric):
    """Keeps per event what the distance needs, and gives a dictionary of values and errors.

    Args:
        samples: Jets drawn from each, with replacement.
        batches: Number of draws.
        seed: Seed of the draws.
    """

    higher_is_better = False

    def __init__(self, samples: int = 50_000, batches: int = 5, seed: int = 42) -> None:
        super().__init__()
        self.draws = Draws(samples, batches, seed)


class W1M(_JetDistance):
    """:func:`w1m` of all jets that were seen."""

    def update(self, reference: Tensor, generated: Tensor) -> None:
        """Add jets ``(B, N, 3)``; either may be empty."""
        super().update(_masses(reference), _masses(generated))

    def compute(self) -> dict[str, Tensor]:
        """``w1m`` and ``w1m/error``."""
        return tensors({"w1m": self.draws.figure(_of_rows(self.rows(), self.draws)[:, 0])})


class W1P(_JetDistance):
    """:func:`w1p` of all jets that were seen."""

    def compute(self) -> dict[str, Tensor]:
        """``w1p`` and ``w1p/<feature>``, each with its twin ``…/error``."""
        return tensors(_named("w1p", w1p(*self.rows(), self.draws)))


class W1EFP(_JetDistance):
    """:func:`w1efp` of all jets that were seen."""

    def update(self, reference: Tensor, generated: Tensor) -> None:
        """Add jets ``(B, N, 3)``; either may be empty."""
        super().update(_polynomials(reference), _polynomials(generated))

    def compute(self) -> dict[str, Tensor]:
        """``w1efp`` and ``w1efp/<polynomial>``, each with its twin ``…/error``."""
        distances = _of_rows(self.rows(), self.draws)
        return tensors(_named("w1efp", _figures(distances, POLYNOMIALS, self.draws)))


def tensors(figures: dict[str, Figure]) -> dict[str, Tensor]:
    """Values and, under ``…/error``, errors as float64 scalars."""
    values = {key: figure.value for key, figure in figures.items()}
    values |= {f"{key}/error": f.error for key, f in figures.items() if f.error is not None}
    return {key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()}


def _masses(jets: Tensor) -> Tensor:
    return four_momentum(*jets.unbind(-1))[0][:, None]


def _polynomials(jets: Tensor) -> Tensor:
    return efps(jets, N4_D4)


def _masses_apart(reference: Tensor, generated: Tensor, rows: Rows) -> Tensor:
    """Distances ``(R, 1)`` of masses."""
    return _of_jets([_masses(jets) for jets in (reference, generated)], rows)


def _polynomials_apart(reference: Tensor, generated: Tensor, rows: Rows) -> Tensor:
    """Distances ``(R, 5)`` of polynomials."""
    return _of_jets([_polynomials(jets) for jets in (reference, generated)], rows)


def _particles_apart(reference: Tensor, generated: Tensor, rows: Rows) -> Tensor:
    """Distances ``(R, 3)`` of features of unpadded particles."""
    masks = [(jets != 0).any(-1) for jets in (reference, generated)]
    owners = [mask.nonzero()[:, 0] for mask in masks]
    if any(len(owner) == 0 for owner in owners):
        raise NotRun("W1P needs particles: one of the samples has only empty jets")
    sizes = len(reference), len(generated)
    first, second = (jets[mask] for jets, mask in zip((reference, generated), masks, strict=True))
    return _apart(
        [
            Union.of(first[:, i], second[:, i], (owners[0], owners[1]), sizes)
            for i in range(len(FEATURES))
        ],
        rows,
    )


def _of_rows(pair: Sequence[Tensor], draws: Draws) -> Tensor:
    """:func:`_of_jets` of the draws."""
    return _of_jets(pair, draws.counts(*map(len, pair)))


def _of_jets(pair: Sequence[Tensor], rows: Rows) -> Tensor:
    """Distances ``(R, K)`` of columns that hold one value per jet, ``(n, K)`` and ``(m, K)``."""
    first, second = pair
    return _apart([Union.of(first[:, i], second[:, i]) for i in range(first.shape[1])], rows)


def _apart(unions: Sequence[Union], rows: Rows) -> Tensor:
    """Distances ``(R, K)`` of sorted columns."""
    found = [[float(union.distance(a, b)) for union in unions] for a, b in rows]
    return torch.tensor(found, dtype=torch.float64)


def _figures(distances: Tensor, names: tuple[str, ...], draws: Draws) -> dict[str, Figure]:
    figures = {name: draws.figure(distances[:, i]) for i, name in enumerate(names)}
    return {"mean": draws.figure(distances.mean(1)), **figures}


def _named(key: str, figures: dict[str, Figure]) -> dict[str, Figure]:
    return {key if name == "mean" else f"{key}/{name}": found for name, found in figures.items()}
