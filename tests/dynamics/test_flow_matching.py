from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.dynamics.flow_matching import cloud_loss, rank_coupling, sample_cloud
from simulacra.dynamics.paths import OptimalTransportPath, stratified_times
from simulacra.dynamics.solvers import Euler


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(n: int = 6, points: int = 7) -> tuple[Tensor, Tensor]:
    mask = torch.arange(points) < torch.randint(1, points + 1, (n, 1), generator=generator(1))
    return torch.randn(n, points, 3, generator=generator(2)) * mask[..., None], mask


def test_path_runs_from_noise_to_data_and_its_velocity_is_its_derivative() -> None:
    path = OptimalTransportPath(0.1)
    noise, data = torch.randn(2, 5, 4, 3, generator=generator(), dtype=torch.float64)
    start, _ = path.at(torch.zeros(5, dtype=torch.float64), noise, data)
    end, _ = path.at(torch.ones(5, dtype=torch.float64), noise, data)
    assert torch.equal(start, noise)
    assert torch.allclose(end, data + 0.1 * noise)
    t = torch.rand(5, generator=generator(), dtype=torch.float64)
    before, velocity = path.at(t - 1e-4, noise, data)
    after, _ = path.at(t + 1e-4, noise, data)
    assert torch.allclose((after - before) / 2e-4, velocity, atol=1e-9)


def test_times_are_uniform_and_cover_the_interval() -> None:
    t = stratified_times(1000, torch.zeros(1), generator())
    assert torch.equal(torch.histc(t, 10, 0, 1), torch.full((10,), 100.0))
    first = torch.stack([stratified_times(4, torch.zeros(1), generator(i))[0] for i in range(400)])
    assert abs(float(first.mean()) - 0.5) < 0.05


def test_loss_is_the_mean_over_real_points_alone() -> None:
    data, mask = clouds()
    path = OptimalTransportPath(0.0)
    zero = cloud_loss(lambda x, t, m: torch.zeros_like(x), data, mask, path, generator=generator(5))
    g = generator(5)
    stratified_times(len(data), data, g)
    target = data - torch.randn(data.shape, generator=g)
    assert float(zero) == pytest.approx(float(target[mask].square().sum() / mask.sum()), rel=1e-5)
    filled = torch.where(mask[..., None], data, 1e3)
    same = cloud_loss(
        lambda x, t, m: torch.zeros_like(x), filled, mask, path, generator=generator(5)
    )
    assert torch.equal(zero, same)


def test_the_network_sees_no_noise_at_padded_points() -> None:
    data, mask = clouds()

    def velocity(x: Tensor, t: Tensor, m: Tensor) -> Tensor:
        assert bool((x[~m] == 0).all())
        return x

    cloud_loss(velocity, data, mask, OptimalTransportPath(), generator=generator())
    made = sample_cloud(
        lambda x, t, m: velocity(x, t, m) * m[..., None], torch.randn(data.shape), mask, Euler(3)
    )
    assert bool((made[~mask] == 0).all())


def test_rank_coupling_only_permutes_noise_within_each_event() -> None:
    data, mask = clouds()
    noise = torch.randn(data.shape, generator=generator(3))
    coupled = rank_coupling(noise, data, mask, 2)
    for before, after, real, event in zip(noise, coupled, mask, data, strict=True):
        ordered = [points[real][points[real][:, 2].argsort()] for points in (before, after)]
        assert torch.equal(ordered[0], ordered[1])
        assert torch.equal(after[real][:, 2].argsort(), event[real][:, 2].argsort())
        assert torch.equal(before[~real].sort(0).values, after[~real].sort(0).values)
