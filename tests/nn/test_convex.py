"""Networks that are convex in one of their inputs."""

from __future__ import annotations

import pytest
import torch

from simulacra.nn.convex import InputConvex


def network(context: int) -> InputConvex:
    """One that is no longer close to the identity."""
    torch.manual_seed(0)
    net = InputConvex(3, context, [8, 8], [8, 6])
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("context", [0, 2])
def test_it_is_convex_and_its_gradient_monotone_whatever_the_weights_are(context: int) -> None:
    net = network(context).double()
    a, b = (3 * torch.randn(500, 3, dtype=torch.float64) for _ in range(2))
    cond = 3 * torch.randn(500, context, dtype=torch.float64) if context else None
    middle = net((a + b) / 2, cond)
    assert bool((middle <= (net(a, cond) + net(b, cond)) / 2 + 1e-9).all())
    slopes = net.gradient(a, cond) - net.gradient(b, cond)
    assert bool(((slopes * (a - b)).sum(1) > 0).all())


def test_it_is_not_convex_in_the_context() -> None:
    net = network(2)
    x, a, b = torch.randn(500, 3), 3 * torch.randn(500, 2), 3 * torch.randn(500, 2)
    above = net(x, (a + b) / 2) > (net(x, a) + net(x, b)) / 2
    assert 0.02 < float(above.float().mean()) < 0.98


def test_the_gradient_is_that_of_finite_differences_and_starts_close_to_the_identity() -> None:
    net = network(2).double()
    x, cond = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    step = 1e-5 * torch.eye(3, dtype=torch.float64)
    found = torch.stack([(net(x + d, cond) - net(x - d, cond)) / 2e-5 for d in step], 1)
    torch.testing.assert_close(net.gradient(x, cond).detach(), found.detach(), rtol=1e-6, atol=1e-6)
    fresh = InputConvex(3, 0, [8, 8], [8])
    y = torch.randn(100, 3)
    assert float((fresh.gradient(y) - y).abs().max().detach()) < 0.03


def test_a_gradient_without_gradients_is_a_constant() -> None:
    net, x = network(0), torch.randn(4, 3)
    with torch.no_grad():
        assert not net.gradient(x).requires_grad
    assert net.gradient(x).requires_grad
