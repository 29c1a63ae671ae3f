from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.dynamics.clouds import CloudNetwork, by_length, cloud_loss, rank_coupling
from simulacra.dynamics.diffusion import (
    angular_velocity,
    flow_matching,
    noise_prediction,
    preconditioned,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(n: int = 6, points: int = 7) -> tuple[Tensor, Tensor]:
    mask = torch.arange(points) < torch.randint(1, points + 1, (n, 1), generator=generator(1))
    return torch.randn(n, points, 3, generator=generator(2)) * mask[..., None], mask


def test_loss_is_the_mean_over_real_points_alone() -> None:
    data, mask = clouds()
    process = flow_matching(0.0)
    still = CloudNetwork(lambda x, t, m, c: torch.zeros_like(x), None)
    zero = cloud_loss(still, data, mask, process, generator=generator(5))
    target = data - torch.randn(data.shape, generator=generator(5))
    assert float(zero) == pytest.approx(float(target[mask].square().sum() / mask.sum()), rel=1e-5)
    filled = torch.where(mask[..., None], data, 1e3)
    same = cloud_loss(still, filled, mask, process, generator=generator(5))
    assert torch.equal(zero, same)


def test_the_network_sees_no_noise_at_padded_points() -> None:
    data, mask = clouds()

    def velocity(x: Tensor, t: Tensor, m: Tensor, c: None) -> Tensor:
        assert bool((x[~m] == 0).all())
        return x

    for process in (flow_matching(), noise_prediction(), angular_velocity(), preconditioned()):
        cloud_loss(CloudNetwork(velocity, None), data, mask, process, generator=generator())


def test_groups_of_like_size_hold_every_event_once_and_save_work() -> None:
    counts = torch.randint(0, 150, (1000,), generator=generator(7))
    mask = torch.arange(150) < counts[:, None]
    groups = list(by_length(mask))
    assert torch.equal(
        torch.cat([chosen for chosen, _ in groups]).sort().values, torch.arange(1000)
    )
    for chosen, longest in groups:
        assert len(chosen) >= 62  # halves of at least 64
        assert longest == max(int(counts[chosen].max()), 1)
    padded = sum(len(chosen) * longest for chosen, longest in groups)
    assert padded < 0.6 * mask.numel()
    assert padded < 1.2 * int(mask.sum())
    full = torch.ones(1000, 30, dtype=torch.bool)
    assert [(len(chosen), longest) for chosen, longest in by_length(full)] == [(1000, 30)]


def test_rank_coupling_only_permutes_noise_within_each_event() -> None:
    data, mask = clouds()
    noise = torch.randn(data.shape, generator=generator(3))
    coupled = rank_coupling(noise, data, mask, 2)
    for before, after, real, event in zip(noise, coupled, mask, data, strict=True):
        ordered = [points[real][points[real][:, 2].argsort()] for points in (before, after)]
        assert torch.equal(ordered[0], ordered[1])
        assert torch.equal(after[real][:, 2].argsort(), event[real][:, 2].argsort())
        assert torch.equal(before[~real].sort(0).values, after[~real].sort(0).values)
