r"""Trees of jets by the Cambridge/Aachen algorithm, all jets of a batch at once.

The two clusters with the smallest distance :math:`\Delta` in the plane of both angles are joined until one
is left.
Momenta add, and the direction of a pair is the momentum-weighted mean of both (the :math:`p_T` scheme), so
that a joining is a splitting read backwards: with the share :math:`z \le 1/2` of the softer one and the
azimuth
:math:`\varphi` at which it lies,

.. math:: p_{soft} = z p, \quad c_{soft} = c + (1 - z) \Delta\, e_\varphi, \qquad p_{hard} = (1 - z) p, \quad
          c_{hard} = c - z \Delta\, e_\varphi .

Going back, the distances of neighbouring splittings never rise by more than :math:`2 / \sqrt 3`.

Reference: Dokshitzer, Leder, Moretti, Webber, hep-ph/9707323.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RISE = 2 / 3**0.5
"""Most that the distance of a splitting exceeds that of the one before."""
ANGLE, SHARE, AZIMUTH = range(3)
"""Columns of a splitting."""


@dataclass(frozen=True)
class Trees:
    """Splittings of ``B`` jets, from the widest on; cluster 0 is the jet, and the ``t``-th splitting
    leaves its harder part where the mother was and makes the cluster ``t + 1`` of its softer one.

    Args:
        mother: Which cluster splits, int64 ``(B, T)``.
        splitting: Distance [rad], share of the softer part, its azimuth [rad] in (-pi, pi], ``(B, T, 3)``.
        mask: True for splittings, bool ``(B, T)``, a first part of each row.
        jet: Both angles [rad] and the momentum of the jet ``(B, 3)``.
    """

    mother: Tensor
    splitting: Tensor
    mask: Tensor
    jet: Tensor


def cluster(x: Tensor, mask: Tensor) -> Trees:
    """Trees of particles, float64.

    Args:
        x: Both angles [rad] and momentum ``(B, N, 3)``.
        mask: Particles, bool ``(B, N)``; at least one each.
    """
    b, n = mask.shape
    count = mask.sum(1)
    steps = max(n - 1, 0)
    mother = torch.zeros(b, steps, dtype=torch.long, device=x.device)
    splitting = torch.zeros(b, steps, 3, dtype=torch.float64, device=x.device)
    jet = torch.zeros(b, 3, dtype=torch.float64, device=x.device)
    order = torch.argsort(mask, dim=1, descending=True, stable=True)
    low, width = 0, min(4, n)
    while low < n:  # jets of like size together: the cost is cubic in it
        rows = ((count > low) & (count <= width)).nonzero()[:, 0]
        if len(rows):
            front = order[rows, :width]
            found = _cluster(x[rows[:, None], front], mask[rows[:, None], front])
            mother[rows, : width - 1], jet[rows] = found.mother, found.jet
            splitting[rows, : width - 1] = found.splitting
        low, width = width, min(2 * width, n)
    return Trees(
        mother, splitting, torch.arange(steps, device=x.device) < (count - 1)[:, None], jet
    )


def _cluster(x: Tensor, mask: Tensor) -> Trees:
    """As :func:`cluster`, with real particles in front and at least one place."""
    b, n = mask.shape
    place, momentum = x[..., :2].double().clone(), x[..., 2].double().clone()
    rows, count = torch.arange(b, device=x.device), mask.sum(1)
    gap = (place[:, :, None] - place[:, None]).square().sum(-1)  # (B, N, N)
    upper = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
    gap = gap.masked_fill(~(mask[:, :, None] & mask[:, None] & upper), torch.inf)
    hard = torch.zeros(b, n - 1, dtype=torch.long, device=x.device)
    soft = torch.zeros_like(hard)
    splitting = torch.zeros(b, n - 1, 3, dtype=torch.float64, device=x.device)
    for left in range(int(count.max()), 1, -1):
        own = rows[count >= left]
        flat = gap[own].flatten(1).argmin(1)
        first, second = flat // n, flat % n
        swap = momentum[own, first] < momentum[own, second]
        i, j = torch.where(swap, second, first), torch.where(swap, first, second)
        total = momentum[own, i] + momentum[own, j]
        z = momentum[own, j] / total
        across = place[own, j] - place[own, i]
        azimuth = torch.atan2(across[:, 1], across[:, 0])
        hard[own, left - 2], soft[own, left - 2] = i, j
        splitting[own, left - 2] = torch.stack([across.norm(dim=1), z, azimuth], 1)
        place[own, i] = place[own, i] + z[:, None] * across
        momentum[own, i] = total
        gap[own, j], gap[own, :, j] = torch.inf, torch.inf
        away = (place[own] - place[own, i][:, None]).square().sum(-1)  # (b, N)
        for line, index in ((gap[own, i], (own, i)), (gap[own, :, i], (own, slice(None), i))):
            gap[index] = torch.where(line.isfinite(), away, line)
    root = hard[:, 0] if n > 1 else torch.zeros_like(count)  # of a single particle that itself
    jet = torch.cat([place[rows, root], momentum[rows, root, None]], 1)
    there = torch.arange(n - 1, device=x.device) < (count - 1)[:, None]
    return Trees(_slots(hard, soft, there, n), splitting, there, jet)


def _slots(hard: Tensor, soft: Tensor, there: Tensor, n: int) -> Tensor:
    """Clusters in the order in which splittings make them, from particles that stand for them."""
    rows = torch.arange(len(hard), device=hard.device)
    slot = torch.zeros(len(hard), n, dtype=torch.long, device=hard.device)
    mother = torch.zeros_like(hard)
    for t in range(hard.shape[1]):
        mother[:, t] = torch.where(there[:, t], slot[rows, hard[:, t]], 0)
        own = rows[there[:, t]]
        slot[own, soft[own, t]] = t + 1
    return mother


def unfold(trees: Trees) -> tuple[Tensor, Tensor]:
    """Particles ``(B, T + 1, 3)`` of trees, in the order of their making, and their mask ``(B, T + 1)``."""
    b, t = trees.mother.shape
    rows = torch.arange(b, device=trees.jet.device)
    x = torch.cat([trees.jet[:, None], trees.jet.new_zeros(b, t, 3)], 1)
    for k in range(t):
        angle, z, azimuth = trees.splitting[:, k].unbind(1)
        across = angle[:, None] * torch.stack([azimuth.cos(), azimuth.sin()], 1)
        place, momentum = x[rows, trees.mother[:, k]].split([2, 1], 1)
        z = z[:, None]
        harder = torch.cat([place - z * across, (1 - z) * momentum], 1)
        softer = torch.cat([place + (1 - z) * across, z * momentum], 1)
        real = trees.mask[:, k, None]
        x = x.clone()
        x[rows, trees.mother[:, k]] = torch.where(real, harder, x[rows, trees.mother[:, k]])
        x[:, k + 1] = torch.where(real, softer, 0.0)
    mask = (
        torch.cat([torch.ones_like(trees.mask[:, :1]), trees.mask], 1)
        if t
        else torch.ones(b, 1, dtype=torch.bool, device=x.device)
    )
    return x, mask
