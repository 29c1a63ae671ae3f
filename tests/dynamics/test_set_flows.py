from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simulacra.dynamics.set_flows import SetFlow
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.nn.deep_sets import DeepSet

SUMMARY = ([8], [6, 5])
each = pytest.mark.parametrize("summary", [None, SUMMARY], ids=["latent alone", "deep sets"])


def made(summary: tuple[list[int], list[int]] | None, features: int = 4) -> SetFlow:
    torch.manual_seed(0)
    flow = SetFlow(features, 2, 3, RationalQuadratic(5, 4.0), [12, 12], summary).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return flow


def inputs(features: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [0]])
    x = torch.randn(4, 6, features, generator=g, dtype=torch.float64) * mask[..., None]
    return x, mask, torch.randn(4, 2, generator=g, dtype=torch.float64)


def noise(flow: SetFlow, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
    for order, coupling in zip(flow.orders, flow.couplings, strict=True):
        x, _ = coupling(x[..., order], mask, context)
    return x * mask[..., None]


@each
@pytest.mark.parametrize("features", [3, 4])
def test_inverse_undoes_the_flow(
    summary: tuple[list[int], list[int]] | None, features: int
) -> None:
    flow, (x, mask, context) = made(summary, features), inputs(features)
    z = noise(flow, x, mask, context)
    assert not torch.allclose(z, x, atol=1e-2)
    assert torch.allclose(flow.inverse(z, mask, context), x, atol=1e-8)


def test_log_prob_of_a_point_is_that_of_the_jacobian() -> None:
    flow, (x, mask, context) = made(None), inputs()
    found = flow.log_prob(x, mask, context)[0, 0]

    def one(point: Tensor) -> Tensor:
        return noise(flow, point[None, None], mask[:1, :1], context[:1])[0, 0]

    jacobian = torch.autograd.functional.jacobian(one, x[0, 0])
    normal = -0.5 * one(x[0, 0]).square().sum() - 2 * math.log(2 * math.pi)
    assert torch.allclose(found, normal + torch.linalg.slogdet(jacobian)[1], atol=1e-9)


@each
def test_order_and_padding_change_nothing(summary: tuple[list[int], list[int]] | None) -> None:
    flow, (x, mask, context) = made(summary), inputs()
    plain = flow.log_prob(x, mask, context)
    assert bool((plain[~mask] == 0).all())
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    moved = flow.log_prob(x[:, order], mask[:, order], context)
    assert torch.allclose(moved, plain[:, order], atol=1e-10)
    filled = torch.where(mask[..., None], x, 3.0)
    assert torch.allclose(flow.log_prob(filled, mask, context), plain, atol=1e-10)


def test_points_see_each_other_through_the_summary_alone() -> None:
    x, mask, context = inputs()
    changed = x.clone()
    changed[0, 1] += 1
    for summary, same in ((None, True), (SUMMARY, False)):
        flow = made(summary)
        one, other = (flow.log_prob(points, mask, context)[0, 0] for points in (x, changed))
        assert torch.allclose(one, other, atol=1e-9) == same


def test_deep_set_takes_the_mean_over_real_points() -> None:
    torch.manual_seed(0)
    net, (x, mask, _) = DeepSet(4, [8, 7], [6, 5]).double(), inputs()
    result = net(x, mask)
    assert torch.allclose(result[1], net(x[1:2, :3], mask[1:2, :3])[0], atol=1e-12)
    doubled = net(torch.cat([x, x], 1), torch.cat([mask, mask], 1))
    assert torch.allclose(doubled, result, atol=1e-12)
    assert bool(result.isfinite().all())
