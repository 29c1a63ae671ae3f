r"""W1M and W1P, the Wasserstein distances that papers on JetNet quote (arXiv:2106.11535).

``w1m`` is the distance between the distributions of the relative jet mass of summed massless particles,
``w1p`` the distance between those of each feature of unpadded particles, quoted as its mean over
:math:`\eta, \phi, p_T` (tables: :math:`10^{-3}`). Each is measured between 50,000 jets drawn with
replacement from either sample, five times; value and error are mean and standard deviation over the five,
as in the library jetnet 0.2.5.

The floor is the same distance between the reference and independent truth of the generated sample's size.
From samples of :math:`n, m` jets instead of :math:`N, M`, with :math:`S` jets per draw, it is scaled by
:math:`\sqrt{(1/N + 1/M + 2/S) / (1/n + 1/m + 2/S)}`, since drawing adds its own fluctuation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, UserError
from simulacra.metrics.wasserstein import distance, union
from simulacra.physics.jets import four_momentum

FEATURES = ("etarel", "phirel", "ptrel")
SAMPLES, BATCHES, SEED = 50_000, 5, 42


@dataclass(frozen=True)
class Distance:
    """Mean and standard deviation over the draws."""

    value: float
    error: float

    @classmethod
    def of(cls, draws: Sequence[float]) -> Distance:
        """Mean and (population) standard deviation, as the library has them."""
        return cls(float(np.mean(draws)), float(np.std(draws)))


def w1m(
    reference: Batch,
    generated: Batch,
    samples: int = SAMPLES,
    batches: int = BATCHES,
    seed: int = SEED,
) -> Distance:
    """Distance of relative jet masses.

    Args:
        reference: Real jets, clouds whose first features are etarel, phirel, ptrel.
        generated: Generated jets.
        samples: Jets drawn from each, with replacement.
        batches: Number of draws.
        seed: Seed of the draws.
    """
    masses = [four_momentum(*_columns(jets).unbind(-1))[0] for jets in (reference, generated)]
    order, steps = union(*masses)
    counts = _draws(len(reference), len(generated), samples, batches, seed)
    return Distance.of([float(distance(first, second, order, steps)) for first, second in counts])


def w1p(
    reference: Batch,
    generated: Batch,
    samples: int = SAMPLES,
    batches: int = BATCHES,
    seed: int = SEED,
) -> dict[str, Distance]:
    """Distance of each feature of unpadded particles; arguments as :func:`w1m`.

    Returns:
        One distance per feature, and under ``"mean"`` the mean over them, whose draws are averaged first.
    """
    first, second = _columns(reference), _columns(generated)
    masks = [_mask(reference), _mask(generated)]
    owners = [mask.nonzero()[:, 0] for mask in masks]
    if any(len(owner) == 0 for owner in owners):
        raise UserError("W1P needs particles: one of the samples has only empty jets")
    unions = [union(first[masks[0]][:, i], second[masks[1]][:, i]) for i in range(len(FEATURES))]
    draws = [
        [float(distance(a[owners[0]], b[owners[1]], *shared)) for shared in unions]
        for a, b in _draws(len(reference), len(generated), samples, batches, seed)
    ]
    named = {name: Distance.of([draw[i] for draw in draws]) for i, name in enumerate(FEATURES)}
    return {"mean": Distance.of([float(np.mean(draw)) for draw in draws]), **named}


def jet_scores(
    reference: Batch,
    generated: Batch,
    truth: Batch | None = None,
    samples: int = SAMPLES,
    batches: int = BATCHES,
    seed: int = SEED,
) -> dict[str, float]:
    """W1M and W1P with errors and floors, as entries of ``metrics.json``.

    Args:
        reference: Real jets that the generated are compared with.
        generated: Generated jets.
        truth: Independent real jets for the floor; without them it comes from halves of the reference.
        samples: As for :func:`w1m`.
        batches: As for :func:`w1m`.
        seed: As for :func:`w1m`.

    Returns:
        ``w1m``, ``w1p`` (mean over the features) and ``w1p/<feature>``, each with twins ``…/error`` and
        ``…/floor``.
    """
    first, second = reference, truth
    if second is None:
        middle = len(reference) // 2
        first, second = reference[:middle], reference[middle:]
    second = second[: len(generated)]
    wanted = 1 / len(reference) + 1 / len(generated) + 2 / samples
    scale = math.sqrt(wanted / (1 / len(first) + 1 / len(second) + 2 / samples))
    found = _named(reference, generated, samples, batches, seed)
    floors = _named(first, second, samples, batches, seed)
    scores: dict[str, float] = {}
    for key, score in found.items():
        scores |= {
            key: score.value,
            f"{key}/error": score.error,
            f"{key}/floor": floors[key].value * scale,
        }
    return scores


def _named(
    reference: Batch, generated: Batch, samples: int, batches: int, seed: int
) -> dict[str, Distance]:
    particles = w1p(reference, generated, samples, batches, seed)
    features = {f"w1p/{name}": particles[name] for name in FEATURES}
    return {
        "w1m": w1m(reference, generated, samples, batches, seed),
        "w1p": particles["mean"],
        **features,
    }


def _draws(n: int, m: int, samples: int, batches: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """How often each jet of either sample is drawn, float64 ``(n,)`` and ``(m,)`` per batch."""
    if not n or not m:
        raise UserError(f"W1 distances of jets need jets in both samples, got {n} and {m}")
    generator = np.random.default_rng(seed)
    return [
        (_counts(n, samples, generator), _counts(m, samples, generator)) for _ in range(batches)
    ]


def _counts(n: int, samples: int, generator: np.random.Generator) -> Tensor:
    drawn = generator.choice(n, size=samples)
    return torch.from_numpy(np.bincount(drawn, minlength=n)).double()


def _columns(jets: Batch) -> Tensor:
    """etarel, phirel and ptrel ``(B, N, 3)``, float64 on the CPU."""
    if jets.x.ndim != 3 or jets.x.shape[-1] < len(FEATURES):
        raise IncompatibleError(
            f"W1M and W1P need clouds of jets, got events of shape {tuple(jets.x.shape[1:])}"
        )
    return jets.x[..., : len(FEATURES)].detach().cpu().double()


def _mask(jets: Batch) -> Tensor:
    if jets.mask is None:
        raise IncompatibleError("W1M and W1P need clouds with a mask")
    return jets.mask.cpu()
