r"""Nearest neighbours of many events in many dimensions, block by block: no matrix of all pairs is in memory.

Distances are Euclidean in float64, from :math:`|x|^2 + |y|^2 - 2\,x \cdot y`.  Samples are read in slices, so
that features of events that do not fit in memory can be computed as they are needed.  A CUDA device does the
products where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

BLOCK_VALUES = 2**25
"""Values of the larger of two blocks (float64: 256 MiB); the other holds an eighth."""
BLOCK_ROWS = 4096
"""Rows of the larger of two blocks, at most."""


class Rows(Protocol):
    """Features ``(N, F)`` that are read in slices; a tensor is one."""

    def __len__(self) -> int:
        """Number of events."""
        raise NotImplementedError

    def __getitem__(self, index: slice, /) -> Tensor:
        """Features of some events ``(n, F)``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Block:
    """Distances between some rows of one sample and some of another.

    Args:
        rows: Which of the first sample.
        columns: Which of the second.
        distance: ``(rows, columns)``, float64, on the CPU.
    """

    rows: slice
    columns: slice
    distance: Tensor


def blocks(first: Rows, second: Rows, upper: bool = False) -> Iterator[Block]:
    """Distances of all pairs.

    Args:
        first: Features ``(N, F)``.
        second: Features ``(M, F)``.
        upper: Whether the samples are the same and only columns from the rows' first one on are wanted.
    """
    width = first[slice(0, 1)].shape[1]
    large = max(8, min(BLOCK_ROWS, BLOCK_VALUES // width))
    small = max(1, large // 8)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for start in range(0, len(first), large):
        rows = slice(start, min(start + large, len(first)))
        x = _read(first, rows, small).to(device)
        norm = _squares(x)[:, None]
        for begin in range(start if upper else 0, len(second), small):
            columns = slice(begin, min(begin + small, len(second)))
            y = second[columns].to(device, torch.float64)
            squared = torch.addmm(norm + _squares(y), x, y.T, alpha=-2)
            yield Block(rows, columns, squared.clamp_(min=0).sqrt_().cpu())
        del x  # before the next one is read


def nearest(rows: Rows, others: Rows) -> Tensor:
    """Distance of each row ``(N,)`` to the nearest of the others."""
    best = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    for block in blocks(rows, others):
        best[block.rows] = torch.minimum(best[block.rows], block.distance.amin(1))
    return best


def radii(rows: Rows, k: int) -> Tensor:
    """Distance of each row ``(N,)`` to its ``k``-th nearest other row of the same sample."""
    best = torch.full((len(rows), k), torch.inf, dtype=torch.float64)
    for block in blocks(rows, rows, upper=True):
        inside = block.columns.start < block.rows.stop  # columns among the rows
        if inside:
            offset = block.columns.start - block.rows.start
            block.distance.diagonal(-offset).fill_(torch.inf)
        best[block.rows] = _smallest(best[block.rows], block.distance, k)
        beyond = slice(max(block.columns.start, block.rows.stop), block.columns.stop)
        if beyond.start < beyond.stop:
            part = block.distance[:, beyond.start - block.columns.start :].T
            best[beyond] = _smallest(best[beyond], part, k)
    return best[:, -1]


def _squares(x: Tensor) -> Tensor:
    """Squared length of each row ``(n,)``, with no copy of the rows."""
    return torch.einsum("nf,nf->n", x, x)


def _smallest(best: Tensor, found: Tensor, k: int) -> Tensor:
    """The ``k`` smallest of two sets of distances per row, rising."""
    return torch.cat([best, found], dim=1).topk(k, dim=1, largest=False, sorted=True).values


def _read(rows: Rows, index: slice, size: int) -> Tensor:
    """Rows in float64, computed ``size`` at a time."""
    parts = range(index.start, index.stop, size)
    first = rows[slice(index.start, min(index.start + size, index.stop))]
    found = torch.empty(index.stop - index.start, first.shape[1], dtype=torch.float64)
    for start in parts:
        part = slice(start, min(start + size, index.stop))
        values = first if start == index.start else rows[part]
        found[part.start - index.start : part.stop - index.start] = values
    return found
