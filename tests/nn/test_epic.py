from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from simulacra.nn.epic import EPiC
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.sets import WeightNormLinear, pool, trim


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def net() -> EPiC:
    torch.manual_seed(0)
    return EPiC(3, 2, hidden=16, latent=5, layers=2, frequencies=3).double()


def inputs(points: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mask = torch.arange(points) < torch.tensor([[points], [2], [0], [1]])
    x = torch.randn(4, points, 3, generator=generator(), dtype=torch.float64)
    t, cond = torch.rand(4, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    return x * mask[..., None], t, mask, cond


@pytest.mark.parametrize(("cond", "parameters"), [(0, 561_330), (2, 566_852)])
def test_published_size(cond: int, parameters: int) -> None:
    with torch.device("meta"):
        net = EPiC(3, cond, hidden=128, latent=10, layers=6, frequencies=16)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_permuting_points_permutes_the_result(net: EPiC) -> None:
    x, t, mask, cond = inputs()
    order = torch.randperm(x.shape[1], generator=generator(1))
    moved = net(x[:, order], t, mask[:, order], cond)
    assert torch.allclose(moved, net(x, t, mask, cond)[:, order], atol=1e-12)


def test_padding_never_changes_the_result(net: EPiC) -> None:
    x, t, mask, cond = inputs()
    plain = net(x, t, mask, cond)
    assert bool((plain[~mask] == 0).all())
    filled = torch.where(mask[..., None], x, 1e3)
    assert torch.allclose(net(filled, t, mask, cond), plain, atol=1e-12)
    longer = nn.functional.pad(x, (0, 0, 0, 4), value=7.0)
    wider = net(longer, t, nn.functional.pad(mask, (0, 4)), cond)
    assert torch.allclose(wider[:, : x.shape[1]], plain, atol=1e-12)


@pytest.mark.parametrize("local", [True, False])
def test_time_conditions_and_other_points_matter(local: bool) -> None:
    torch.manual_seed(0)
    net = EPiC(3, 2, hidden=16, latent=5, layers=2, frequencies=3, local_cond=local).double()
    x, t, mask, cond = inputs()
    plain = net(x, t, mask, cond)[0, 0]
    moved = x.clone()
    moved[0, 1] += 1
    changed = [net(moved, t, mask, cond), net(x, 1 - t, mask, cond), net(x, t, mask, cond + 1)]
    assert all(not torch.allclose(plain, other[0, 0], atol=1e-6) for other in changed)


def test_every_parameter_has_a_gradient(net: EPiC) -> None:
    net(*inputs()).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())


def test_split_linear_equals_weight_norm_of_the_joined_input() -> None:
    torch.manual_seed(0)
    split = WeightNormLinear(4, 3, 6)
    joined = weight_norm(nn.Linear(7, 6))
    with torch.no_grad():
        split.length.mul_(1.7)
        joined.bias.copy_(split.bias)
        joined.parametrizations.weight.original0.copy_(split.length)
        joined.parametrizations.weight.original1.copy_(split.direction)
    x, context = torch.randn(5, 8, 4), torch.randn(5, 3)
    expected = joined(torch.cat([x, context[:, None].expand(-1, 8, -1)], -1))
    assert torch.allclose(split(x, context), expected, atol=1e-6)
    assert torch.allclose(split(x[:, 0], context), expected[:, 0], atol=1e-6)


def test_pool_and_trim_use_real_points_alone() -> None:
    x = torch.arange(24.0).view(2, 4, 3)
    mask = torch.tensor([[False, True, False, True], [False, False, False, True]])
    pooled = pool(x, mask[:, None].float(), 0.5)
    assert torch.equal(pooled[0], torch.cat([(x[0, 1] + x[0, 3]) / 2, (x[0, 1] + x[0, 3]) / 2]))
    assert torch.equal(pool(x, torch.zeros(2, 1, 4), 0.5), torch.zeros(2, 6))
    short, kept = trim(x, mask)
    assert torch.equal(short[0], x[0, [1, 3]])
    assert torch.equal(short[1][kept[1]], x[1, 3:])
    assert kept.tolist() == [[True, True], [True, False]]


def test_fourier_features_tell_all_times_apart() -> None:
    features = FourierFeatures(4)(torch.linspace(0, 1, 50))
    assert features.shape == (50, 8)
    assert float(torch.pdist(features).min()) > 1e-3
