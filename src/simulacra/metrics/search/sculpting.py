r"""What a cut on a score does to the mass spectrum of the background.

A search for a bump needs a background whose spectrum stays smooth. The distance of Kolmogorov and Smirnov,

.. math:: D = \sup_m |F_\text{kept}(m) - F(m)|,

compares the background events that a cut keeps with all of them. Its floor is the mean distance of as many
events that are drawn by chance from all, its error the standard deviation of these.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.distances.kolmogorov import Distribution

DRAWS = 200
"""Draws by chance behind a floor."""


def sculpting(
    mass: Tensor, score: Tensor, share: float, weight: Tensor | None = None, seed: int = 0
) -> dict[str, float]:
    """Distance of the mass spectrum of background events that a cut keeps from that of all of them.

    Args:
        mass: Of the background events ``(N,)``.
        score: Of the same events ``(N,)``; the highest are kept.
        share: Share of the events that is kept, in (0, 1).
        weight: Weights of the events ``(N,)``, or None.
        seed: Of the draws behind the floor.

    Returns:
        ``sculpting`` with its floor and error, and ``sculpting/sigma``, its errors above the floor.

    Raises:
        UserError: If the cut would keep fewer than two events.
    """
    kept = round(share * len(score))
    if not 2 <= kept < len(score):
        raise UserError(
            f"a share of {share:g} of {len(score)} background events is no cut that can be looked at"
        )
    generator = torch.Generator().manual_seed(seed)
    values = mass.double()[:, None]
    known = Distribution(values, weight)
    chosen = [torch.randperm(len(score), generator=generator)[:kept] for _ in range(DRAWS)]
    rows = [score.argsort(descending=True, stable=True)[:kept], *chosen]
    found = [
        float(
            known.distances(
                known.places(values[index]),
                None if weight is None else weight[index].double().numpy(),
            )[0]
        )
        for index in rows
    ]
    chance = torch.tensor(found[1:], dtype=torch.float64)
    floor, error = float(chance.mean()), float(chance.std())
    above = (found[0] - floor) / error if error else math.nan
    return {
        "sculpting": found[0],
        "sculpting/error": error,
        "sculpting/floor": floor,
        "sculpting/sigma": above,
    }
