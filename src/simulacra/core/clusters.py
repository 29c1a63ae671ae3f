"""Clusters of hits: cells of a stack of grids that touch, found and kept apart without an image.

Two hits of one grid are neighbours if neither rows nor columns differ by more than ``reach``: 1 counts
diagonal neighbours too, 0 makes every hit a cluster of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from simulacra.core import draws


def connected(grid: Tensor, row: Tensor, col: Tensor, reach: int = 1) -> Tensor:
    """Number of the cluster of each hit, int64 ``(n,)``, from 0 without gaps.

    Args:
        grid: Grid of each hit, int64 ``(n,)``; hits of different grids are never neighbours.
        row: Its row, from 0.
        col: Its column; no two hits of a grid are in one cell.
        reach: See the module's docstring.
    """
    n = len(grid)
    if not n or not reach:
        return torch.arange(n, device=grid.device)
    width, height = int(col.max()) + 1 + reach, int(row.max()) + 1 + reach
    cell = ((grid * height + row) * width + col).cpu().numpy()
    order = np.argsort(cell, kind="stable")  # quick where hits are listed in order
    key = cell[order]
    padded = np.append(key, [np.iinfo(np.int64).max] * (2 * reach + 1))
    pairs = []
    for step in range(reach + 1):  # this row, then those below it
        low = -reach if step else 1
        start = np.searchsorted(key, key + (step * width + low)) if step else np.arange(1, n + 1)
        for i in range(reach - low + 1):
            touching = np.flatnonzero(padded[start + i] <= key + (step * width + reach))
            pairs.append((order[touching], order[start[touching] + i]))
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), (n, n))
    label = connected_components(graph.tocsr(), directed=False)[1]
    return torch.from_numpy(label).long().to(grid.device)


def apart(
    grid: Tensor,
    cluster: Tensor,
    row: Tensor,
    col: Tensor,
    size: tuple[int, int, int],
    reach: int,
    generator: torch.Generator | None = None,
    rounds: int = 30,
) -> Tensor:
    """Rows of all hits after clusters that would touch one of a smaller number were moved along
    their columns.

    Args:
        grid: Grid of each hit, int64 ``(n,)``.
        cluster: Number of its cluster, none of which is in two grids.
        row: Its row.
        col: Its column.
        size: Number of grids, of rows and of columns.
        reach: Distance at which hits of two clusters touch; 0: in one cell alone.
        generator: Source of the new places.
        rounds: How often clusters are moved at most; those that find no place stay where they are then.
    """
    grids, rows, cols = size
    wide = cols + 2 * reach
    area = (rows + 2 * reach) * wide
    n = int(cluster.max()) + 1 if len(cluster) else 0
    around = [
        i * wide + k for i in range(-reach, reach + 1) for k in range(-reach, reach + 1)
    ]  # cells
    last = torch.full((n,), -1, device=row.device).scatter_reduce(0, cluster, row, "amax")
    low = torch.full((n,), rows, device=row.device).scatter_reduce(0, cluster, row, "amin")
    height = last - low + 1
    for _ in range(rounds if n else 0):
        cell = grid * area + (row + reach) * wide + col + reach
        owner = torch.full((grids * area,), n, dtype=torch.int32, device=row.device)
        owner.scatter_reduce_(0, cell, cluster.int(), "amin")
        touched = torch.zeros_like(cluster, dtype=torch.bool)
        for step in around:
            touched |= owner[cell + step] < cluster
        bad = torch.zeros(n, dtype=torch.bool, device=row.device)
        bad[cluster[touched]] = True
        if not bool(bad.any()):
            break
        place = draws.uniform((n,), row, generator)
        fresh = (place * (rows - height + 1)).long().minimum(rows - height)
        moved = torch.where(bad, fresh, low)
        row, low = row + (moved - low)[cluster], moved
    return row
