"""How sensors of one event go together: the mean absolute difference of the rank correlations of their
occupancies, over all pairs of sensors (arXiv:2303.08046, correlation of intra-event sensors).

Independent images have correlation 0, so a generator that ignores the event scores the mean
correlation of the truth.
"""

from __future__ import annotations

import math

import torch

from simulacra.core import Batch
from simulacra.physics.pxd import correlation_difference

REPLICAS = 20
"""Bootstrap replicas behind the error."""


def sensor_scores(
    reference: Batch, generated: Batch, truth: Batch | None = None, seed: int = 0
) -> dict[str, float]:
    """``sensor_correlation`` with its twins ``…/error`` and ``…/floor``, as entries of ``metrics.json``.

    Args:
        reference: True events ``(N, S, rows, cols)``.
        generated: Generated events of the same sensors.
        truth: Independent true events for the floor; without them halves of the reference, scaled.
        seed: Seed of the bootstrap.
    """
    first, second = (_occupancy(batch) for batch in (reference, generated))
    generator = torch.Generator().manual_seed(seed)
    draws = [
        correlation_difference(
            first[_draw(len(first), generator)], second[_draw(len(second), generator)]
        )
        for _ in range(REPLICAS)
    ]
    if truth is None:
        middle = len(first) // 2
        pair, scale = (
            (first[:middle], first[middle:]),
            math.sqrt(0.25 * (1 + len(first) / len(second))),
        )
    else:
        pair, scale = (first, _occupancy(truth[: len(generated)])), 1.0
    return {
        "sensor_correlation": correlation_difference(first, second),
        "sensor_correlation/error": float(torch.tensor(draws).std()),
        "sensor_correlation/floor": correlation_difference(*pair) * scale,
    }


def _occupancy(batch: Batch) -> torch.Tensor:
    return (batch.x > 0).flatten(2).double().mean(-1)


def _draw(n: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(n, (n,), generator=generator)
