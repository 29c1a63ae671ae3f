from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from simulacra.dynamics.transport import transport_coupling


def points(n: int = 4, size: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    mask = torch.arange(size) < torch.randint(1, size + 1, (n, 1), generator=g)
    noise, data = torch.randn(2, n, size, 3, generator=g)
    return noise, data, mask, torch.randint(0, 3, (n, size), generator=g)


def cost(noise: Tensor, data: Tensor, mask: Tensor) -> Tensor:
    return ((noise - data).norm(dim=-1) * mask).sum(1)


def test_the_assignment_is_the_cheapest_of_all() -> None:
    noise, data, mask, group = points()
    found = transport_coupling(noise, data, mask, group, 256)
    for event in range(len(data)):
        least = 0.0
        for label in range(3):
            rows = torch.nonzero(mask[event] & (group[event] == label))[:, 0]
            choices = torch.tensor(list(permutations(rows.tolist())), dtype=torch.int64)
            apart = (noise[event][choices] - data[event][rows]).norm(dim=-1)
            least += float(apart.sum(1).min()) if len(rows) else 0.0
        assert float(cost(found, data, mask)[event]) == pytest.approx(least, rel=1e-5)


def test_paths_become_shorter_within_groups_and_noise_stays_the_same_set() -> None:
    noise, data, mask, group = points(20)
    found = transport_coupling(noise, data, mask, group, 256)
    assert bool((cost(found, data, mask) <= cost(noise, data, mask) + 1e-5).all())
    assert float(cost(found, data, mask).mean()) < 0.9 * float(cost(noise, data, mask).mean())
    assert torch.equal(found[~mask], noise[~mask])
    for event in range(20):
        for label in range(3):
            rows = mask[event] & (group[event] == label)
            before, after = (x[event][rows, 0].sort().values for x in (noise, found))
            assert torch.equal(before, after)


def test_permuting_the_points_permutes_the_noise_that_they_get() -> None:
    noise, data, mask, group = points()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    plain = transport_coupling(noise, data, mask, group, 256)
    # the noise of a group is a set: it may stand anywhere
    moved = transport_coupling(
        noise[:, order], data[:, order], mask[:, order], group[:, order], 256
    )
    assert torch.equal(moved, plain[:, order])


def test_large_groups_are_assigned_in_even_parts() -> None:
    noise, data, mask, group = points(5, 50)
    mask, group = torch.ones_like(mask), torch.zeros_like(group)
    totals = [
        cost(transport_coupling(noise, data, mask, group, n), data, mask).mean()
        for n in (1, 13, 50)
    ]
    assert torch.equal(transport_coupling(noise, data, mask, group, 1), noise)
    assert totals[0] > 1.2 * totals[1] > 1.2 * totals[2]


def test_a_velocity_on_assigned_noise_has_less_to_average_over() -> None:
    """Where paths cross, velocities of one point differ: the best regression is off by their spread."""
    g = torch.Generator().manual_seed(3)
    data = torch.cat(
        [torch.randn(40, 8, 1, generator=g) * 0.1 - 2, torch.randn(40, 8, 1) * 0.1 + 2], 1
    )
    noise = torch.randn(40, 16, 1, generator=g)
    mask, group = torch.ones(40, 16, dtype=torch.bool), torch.zeros(40, 16, dtype=torch.int64)
    matched = transport_coupling(noise, data, mask, group, 256)

    def spread(start: Tensor) -> float:
        middle, speed = (0.5 * (start + data)).flatten(), (data - start).flatten()
        bins = (middle / 0.1).round()
        within = [speed[bins == b].var(correction=0) * (bins == b).sum() for b in bins.unique()]
        return float(torch.stack(within).sum() / len(speed))

    assert spread(matched) < 0.5 * spread(noise)
