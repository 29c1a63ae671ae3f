from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from simulacra.dynamics.clouds import CloudNetwork, cloud_loss
from simulacra.dynamics.diffusion import preconditioned
from simulacra.dynamics.paths import BetaPath
from simulacra.nn.pointwise import BetaFeatures, ConcatSquash, GaussianFourier, PointWise

PUBLISHED = [128, 256, 512, 256, 128]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(residual: bool = False) -> PointWise:
    torch.manual_seed(0)
    time = GaussianFourier(4, std=1.0, outputs=5)
    return PointWise(3, 2, [16, 8], time, residual).double()


def inputs(points: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mask = torch.arange(points) < torch.tensor([[points], [2], [0], [1]])
    x = torch.randn(4, points, 3, generator=generator(), dtype=torch.float64)
    t, cond = torch.rand(4, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    return x * mask[..., None], t, mask, cond


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_published_sizes() -> None:
    with torch.device("meta"):
        two = PointWise(4, 2, PUBLISHED, GaussianFourier(32, 42.4, 64))
        one = PointWise(4, 256 + 2, PUBLISHED, BetaFeatures(100, 1e-4, 0.02), residual=True)
    assert size(two) == 504_920  # 505k in arXiv:2309.05704
    assert size(one) == 1_001_520  # 1.00M in arXiv:2305.04847


def test_concat_squash_is_a_gated_and_moved_linear_layer() -> None:
    torch.manual_seed(0)
    layer = ConcatSquash(3, 2, 4)
    x, context = torch.randn(2, 5, 3), torch.randn(2, 2)
    wanted = torch.sigmoid(layer.gate(context))[:, None] * layer.point(x)
    assert torch.allclose(layer(x, context), wanted + layer.shift(context)[:, None], atol=1e-6)


@pytest.mark.parametrize("residual", [True, False])
def test_permuting_points_permutes_the_result_and_no_point_sees_another(residual: bool) -> None:
    net, (x, t, mask, cond) = made(residual), inputs()
    plain = net(x, t, mask, cond)
    order = torch.randperm(x.shape[1], generator=generator(1))
    assert torch.allclose(net(x[:, order], t, mask[:, order], cond), plain[:, order], atol=1e-12)
    moved = x.clone()
    moved[0, 1:] += 1
    assert torch.allclose(net(moved, t, mask, cond)[0, 0], plain[0, 0], atol=1e-12)


def test_padding_changes_neither_result_nor_loss() -> None:
    net, (x, t, mask, cond) = made(), inputs()
    plain = net(x, t, mask, cond)
    filled = torch.where(mask[..., None], x, 1e3)
    assert bool((plain[~mask] == 0).all())
    assert torch.allclose(net(filled, t, mask, cond), plain, atol=1e-12)

    def loss(points: Tensor) -> Tensor:
        process = preconditioned()
        return cloud_loss(CloudNetwork(net, cond), points, mask, process, generator=generator(3))

    assert torch.equal(loss(x), loss(filled))
    assert not torch.equal(loss(x), loss(x + mask[..., None]))


def test_time_and_context_matter_and_a_residual_is_added() -> None:
    net, (x, t, mask, cond) = made(), inputs()
    plain = net(x, t, mask, cond)[0, 0]
    for other in (net(x, 1 - t, mask, cond), net(x, t, mask, cond + 1)):
        assert not torch.allclose(plain, other[0, 0], atol=1e-6)
    assert torch.allclose(made(residual=True)(x, t, mask, cond)[0, 0], plain + x[0, 0], atol=1e-12)


def test_every_parameter_has_a_gradient() -> None:
    net = made()
    net(*inputs()).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())


def test_fourier_features_are_those_of_the_quarter_logarithm_of_the_noise() -> None:
    low, high, published = 0.002, 80.0, 16.0
    scale = published * math.log(high / low) / 4
    net = GaussianFourier(8, std=scale, outputs=4).double()
    sigma = torch.tensor([0.002, 0.1, 3.0, 80.0], dtype=torch.float64)
    told = (sigma / high).log() / math.log(low / high)
    found = told[:, None] * net.weights
    weight = -published * net.weights / scale  # of the published draw, mirrored as N(0, 1) allows
    wanted = weight * (sigma.log() / 4)[:, None]
    assert torch.allclose((found - wanted).std(0), torch.zeros(8, dtype=torch.float64), atol=1e-9)


def test_beta_features_follow_the_chain() -> None:
    path, features = BetaPath(100, 1e-4, 0.02), BetaFeatures(100, 1e-4, 0.02)
    t = 1 - torch.arange(1, 101, dtype=torch.float64) / 100
    before = path.scales(t + 0.01)[0]
    beta = 1 - (path.scales(t)[0] / before).square()
    found = features(t)
    assert torch.allclose(found[:, 0], beta, atol=1e-9)
    assert torch.allclose(found[:, 1:], torch.stack([beta.sin(), beta.cos()], 1), atol=1e-9)
