r"""Clusters of fired pixels: what one particle leaves in a sensor, as far as it does not touch another's.

Two fired pixels of one sensor of one event belong to one cluster if they touch along an edge or at a corner
(8-neighbourhood), directly or through others. Fired is what lies at or above the evaluation cut; no larger
charge is asked of any pixel of a cluster (no seed), and clusters end at the sensor. A cluster's size is its
number of pixels, its sizes along ``u`` and ``v`` are the rows and columns that it touches, its charge is the
sum over its pixels.

No image is made (:mod:`simulacra.core.clusters`), so that time and memory are those of the fired pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simulacra.core.clusters import connected


@dataclass(frozen=True)
class Clusters:
    """Clusters in the order of their first pixels.

    Args:
        event: Position of the event of each, int64 ``(n,)``.
        size: Number of pixels, int64 ``(n,)``.
        size_u: Rows that it touches, int64 ``(n,)``.
        size_v: Columns that it touches, int64 ``(n,)``.
        charge: Sum of the charges, float64 ``(n,)``.
    """

    event: Tensor
    size: Tensor
    size_u: Tensor
    size_v: Tensor
    charge: Tensor


def find_clusters(event: Tensor, stack: Tensor, u: Tensor, v: Tensor, charge: Tensor) -> Clusters:
    """Clusters of fired pixels that are listed by image, row and column.

    Args:
        event: Event of each pixel, int64 ``(hits,)``.
        stack: Image (sensor of an event) of each pixel, rising.
        u: Its row, rising within an image.
        v: Its column, rising within a row.
        charge: Its charge ``(hits,)``.
    """
    if not len(charge):
        none = event.new_zeros(0)
        return Clusters(none, none, none, none, charge.new_zeros(0, dtype=torch.float64))
    rows, cols = (item.cpu().numpy() for item in (u, v))
    label = connected(stack, u, v).cpu().numpy()
    count = int(label.max()) + 1
    order = np.argsort(label, kind="stable")
    start = np.searchsorted(label[order], np.arange(count))
    last = np.append(start[1:], len(order)) - 1
    high, low = (extreme.reduceat(cols[order], start) for extreme in (np.maximum, np.minimum))
    found = (
        np.bincount(label, minlength=count),
        rows[order[last]] - rows[order[start]] + 1,
        high - low + 1,
        np.bincount(label, charge.double().cpu().numpy(), minlength=count),
    )
    first = np.argsort(order[start])
    size, size_u, size_v, total = (torch.from_numpy(item[first]).to(event.device) for item in found)
    return Clusters(event[torch.from_numpy(order[start][first])], size, size_u, size_v, total)
