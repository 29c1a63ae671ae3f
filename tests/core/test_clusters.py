from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from simulacra.core.clusters import apart, connected


def fired(share: float, seed: int = 0) -> Tensor:
    return torch.rand(3, 20, 31, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("share", [0.02, 0.2, 0.45])
def test_clusters_are_those_of_scipy_in_each_grid(share: float) -> None:
    images = fired(share)
    grid, row, col = images.nonzero(as_tuple=True)
    order = torch.randperm(len(grid), generator=torch.Generator().manual_seed(1))
    found = torch.empty_like(grid)
    found[order] = connected(grid[order], row[order], col[order])
    start = 0
    expected = torch.zeros(images.shape, dtype=torch.long)
    for image, labels in zip(images, expected, strict=True):
        labels.copy_(torch.from_numpy(ndimage.label(image.numpy(), [[1] * 3] * 3)[0]))
        labels[image] += start
        start = int(labels.max())
    pairs = torch.stack([found, expected[grid, row, col]], 1).unique(dim=0)
    assert len(pairs) == start == int(found.max()) + 1  # one label stands for one label


def test_without_reach_every_hit_is_by_itself() -> None:
    grid, row, col = fired(0.5).nonzero(as_tuple=True)
    assert len(connected(grid, row, col, 0).unique()) == len(grid)
    assert len(connected(grid[:0], row[:0], col[:0])) == 0


def test_clusters_that_touch_are_moved_along_their_columns_as_a_whole() -> None:
    generator = torch.Generator().manual_seed(2)
    n = 40  # dominoes in a grid of 40 x 30: many overlap
    seed_row, seed_col = (torch.randint(high, (n,), generator=generator) for high in (40, 29))
    cluster = torch.arange(n).repeat_interleave(2)
    row, col = seed_row[cluster], seed_col[cluster] + torch.arange(2).repeat(n)
    grid = torch.zeros_like(row)
    moved = apart(grid, cluster, row, col, (1, 40, 30), 1, generator)
    assert len(connected(grid, moved, col).unique()) == n
    assert 0 < int((moved != row).sum()) < n
    assert torch.equal(moved[::2], moved[1::2])
    assert 0 <= int(moved.min()) <= int(moved.max()) < 40
    assert torch.equal(apart(grid, cluster, moved, col, (1, 40, 30), 1, generator), moved)


def test_clusters_that_find_no_room_stay() -> None:
    one = torch.zeros(3, dtype=torch.long)
    cluster = torch.arange(3)
    assert torch.equal(apart(one, cluster, one, one, (1, 1, 1), 1), one)
