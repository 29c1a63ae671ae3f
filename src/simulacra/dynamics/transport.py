r"""Noise points that belong to points by optimal transport.

The points of a set have no order, so noise points may be given to them in any way that depends on the
sets alone, see :mod:`simulacra.dynamics.clouds`. Within each group of points of an event (those of one
layer) the noise points are given to the points by the assignment :math:`\pi` that minimises

.. math:: \sum_i |x_i - z_{\pi(i)}| ,

found exactly. Paths become shorter and cross less often, so that few steps of a solver follow them. The
cost of the assignment is cubic: a group of more than ``chunk`` points is split evenly into as few parts
as keep to it.

Reference: AllShowers, arXiv:2601.11716, section 3 (distance, per shower and layer); batches of noise in
flow matching: arXiv:2302.00482.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor


def transport_coupling(
    noise: Tensor, data: Tensor, mask: Tensor, group: Tensor, chunk: int
) -> Tensor:
    """Permute noise points within each group of each event so that they are assigned to its points.

    Args:
        noise: Independent noise ``(B, N, F)``.
        data: Points ``(B, N, F)``.
        mask: Real points ``(B, N)``; noise of padding stays where it is.
        group: Which group a point belongs to, whole ``(B, N)``.
        chunk: Largest number of points that are assigned together.
    """
    start, end, real, label = (
        item.detach().cpu().numpy() for item in (noise.float(), data.float(), mask, group)
    )
    source = np.broadcast_to(np.arange(mask.shape[1]), mask.shape).copy()
    for event in range(len(source)):
        for rows in _groups(label[event], real[event], chunk):
            if len(rows) > 1:
                cost = cdist(end[event, rows], start[event, rows])
                source[event, rows] = rows[linear_sum_assignment(cost)[1]]
    found = torch.from_numpy(source).to(noise.device)
    return noise.gather(1, found[..., None].expand_as(noise))


def _groups(label: np.ndarray, real: np.ndarray, chunk: int) -> list[np.ndarray]:
    """Places of the points of every group of an event, in parts of at most ``chunk``."""
    places = np.flatnonzero(real)
    places = places[label[places].argsort(kind="stable")]
    ends = np.flatnonzero(np.diff(label[places])) + 1
    return [
        rows[part :: -(-len(rows) // chunk)]
        for rows in np.split(places, ends)
        for part in range(-(-len(rows) // chunk))
    ]
