"""Masked autoregressive steps: masks, log-determinants, sampling, density, extreme inputs, orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from naive_sampler import naive_step
from simulacra.core import Layout
from simulacra.dynamics.affine import Affine
from simulacra.dynamics.autoregressive import (
    Inverted,
    MaskedAutoregressive,
    autoregressive_flow,
    layer_orders,
)
from simulacra.dynamics.cubic import Cubic
from simulacra.dynamics.flows import Flow, Permute
from simulacra.dynamics.splines import RationalQuadratic, Spline

MAPS = [Affine(), RationalQuadratic(8, 14.0), Cubic(5, 4.0)]
maps = pytest.mark.parametrize("spline", MAPS, ids=lambda spline: type(spline).__name__)


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(2)


def shaken(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """Weights away from the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda v: function(v[None])[0], x)


@maps
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [[4], [32, 24], [7, 5, 16]])
def test_the_jacobian_is_triangular_in_the_declared_order_and_its_determinant_exact(
    spline: Spline, context: int, hidden: list[int]
):
    step = shaken(MaskedAutoregressive(7, context, spline, hidden)).double()
    given = normal(1, context).double() if context else None
    x = normal(7).double()
    found = jacobian(lambda v: step(v, given)[0], x)
    assert torch.equal(found.triu(1), torch.zeros(7, 7, dtype=torch.float64))
    assert bool((found.diagonal() > 0).all())
    log_det = step(x[None], given)[1][0]
    torch.testing.assert_close(log_det, torch.linalg.slogdet(found).logabsdet)


def test_every_feature_sees_all_before_it_and_the_context_once_the_layer_is_wide_enough():
    step = shaken(MaskedAutoregressive(6, 2, Affine(), [64, 64]))
    x, context = normal(6), normal(1, 2)
    below = jacobian(lambda v: step(v, context)[0], x)
    assert bool((below.tril(-1) != 0)[torch.ones(6, 6).tril(-1).bool()].all())
    steered = jacobian(lambda c: step(x[None], c)[0], context[0])
    assert bool((steered != 0).all())


def test_the_last_feature_sees_the_first_ones_also_through_a_narrow_layer():
    step = shaken(MaskedAutoregressive(40, 0, Affine(), [5]))
    row = jacobian(lambda v: step(v)[0], normal(40))[-1, :-1]
    assert bool((row[:32] != 0).all())  # the highest degree is 1 + 4 * 39 // 5 = 32


@pytest.mark.parametrize("spline", [Affine(), RationalQuadratic(8, 6.0), Cubic(5, 4.0)])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("hidden", [[4], [32, 24], [7, 5, 16]])
def test_the_fast_sampler_equals_one_pass_per_feature(
    spline: Spline, context: int, hidden: list[int]
):
    step = shaken(MaskedAutoregressive(9, context, spline, hidden)).double()
    z, given = 2 * normal(5, 9).double(), normal(5, context).double() if context else None
    with torch.no_grad():
        expected, expected_log = naive_step(step, z, given)
        x, log_det = step.inverse(z, given)
    torch.testing.assert_close(x, expected)
    torch.testing.assert_close(log_det, expected_log)
    torch.testing.assert_close(step(x, given)[0], z)


@pytest.fixture(scope="module")
def deep() -> Flow:
    """Eight blocks of the published kind, fewer features."""
    torch.manual_seed(0)
    flow = autoregressive_flow(Layout(24, 3), 8, RationalQuadratic(8, 14.0), [32, 32], dropout=0.05)
    return shaken(flow, 0.04).eval()


def test_at_the_published_depth_single_precision_keeps_the_round_trip(deep: Flow):
    z, context = 2 * normal(200, 24), normal(200, 3, seed=1)
    with torch.no_grad():
        x, log_det = deep.inverse(z, context)
        back, log_back = deep(x, context)
        again, _ = deep.inverse(back, context)
    assert log_det.std() > 0.3  # far from the identity
    assert (back - z).abs().max() < 1e-4
    assert (again - x).abs().max() < 1e-4
    torch.testing.assert_close(log_det, -log_back, atol=2e-3, rtol=1e-4)


def test_at_the_published_depth_the_fast_sampler_equals_the_naive_one(deep: Flow):
    """Each block in single precision on the same input, all of them together in double."""
    context, z = normal(8, 3, seed=1), normal(8, 24)
    exact, expected = deepcopy(deep).double(), z.double()
    with torch.no_grad():
        for step, twin in zip(reversed(deep.steps), reversed(exact.steps), strict=True):
            if isinstance(step, MaskedAutoregressive):
                assert (
                    step.inverse(z, context)[0] - naive_step(step, z, context)[0]
                ).abs().max() < 1e-5
                expected, _ = naive_step(twin, expected, context.double())
            else:
                expected, _ = twin.inverse(expected)
            z, _ = step.inverse(z, context)
        found, _ = exact.inverse(normal(8, 24).double(), context.double())
    torch.testing.assert_close(found, expected)
    assert (z - expected).abs().max() < 5e-5  # eight blocks of rounding to 1e-7 of the box of 28


@maps
@pytest.mark.parametrize("size", [1e3, 1e10, 3e38])
def test_no_finite_input_breaks_either_direction(spline: Spline, size: float):
    step = shaken(MaskedAutoregressive(6, 2, spline, [16]), 1.0)
    x = torch.tensor([[0.0, size, -size, 1.0, -1.0, size], [size] * 6, [14.0] * 6, [-14.0] * 6])
    context = normal(4, 2)
    with torch.no_grad():
        for values, log_det in (step(x, context), step.inverse(x, context)):
            assert not bool(values.isnan().any())
            assert bool(log_det.isfinite().all())
            assert bool(values[2:].isfinite().all())


def test_weights_of_the_next_sample_are_those_of_now():
    step = shaken(MaskedAutoregressive(5, 0, RationalQuadratic(4, 5.0), [8]))
    z = normal(3, 5)
    before, _ = step.inverse(z)
    for parameter in step.parameters():
        parameter.data.mul_(0.5)  # leaves no trace in version counters
    after, _ = step.inverse(z)
    assert not torch.equal(before, after)
    torch.testing.assert_close(step(after)[0], z, atol=1e-5, rtol=0)


def test_dropout_acts_towards_noise_in_training_only():
    step = shaken(MaskedAutoregressive(5, 0, Affine(), [32], dropout=0.5))
    x = normal(3, 5)
    assert not torch.equal(step(x)[0], step(x)[0])
    assert torch.equal(step.inverse(x)[0], step.inverse(x)[0])
    step.eval()
    assert torch.equal(step(x)[0], step(x)[0])


def test_inverted_swaps_the_directions_and_samples_with_gradients():
    step = shaken(MaskedAutoregressive(4, 2, RationalQuadratic(4, 5.0), [8]))
    swapped, z, context = Inverted(step), normal(3, 4), normal(3, 2, seed=1)
    x, log_det = swapped.inverse(z, context)
    assert torch.equal(x, step(z, context)[0])
    back, log_back = swapped(x.detach(), context)
    torch.testing.assert_close(back, z, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_back, -log_det, atol=1e-4, rtol=0)
    x.square().sum().backward()
    assert all(p.grad is not None for p in step.parameters())


@pytest.mark.parametrize("inverse", [False, True])
def test_the_density_integrates_to_one(inverse: bool):
    flow = shaken(
        autoregressive_flow(Layout(2, 1), 3, RationalQuadratic(4, 3.0), [12]), 0.2
    ).double()
    if inverse:
        flow = Flow(2, [s if isinstance(s, Permute) else Inverted(s) for s in flow.steps])
    axis = torch.linspace(-9, 9, 301, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        context = torch.full((len(points), 1), 0.7, dtype=torch.float64)
        density = flow.log_prob(points, context).exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-2)


def test_a_flow_starts_as_the_identity_up_to_order():
    flow = autoregressive_flow(
        Layout(7, 2), 3, RationalQuadratic(6, 5.0), [8], affine=[8], actnorm=True
    )
    x, context = normal(50, 7), normal(50, 2)
    torch.testing.assert_close(flow(x, context)[0].sort(-1).values, x.sort(-1).values)
    expected = -0.5 * x.square().sum(-1) - 3.5 * math.log(2 * math.pi)
    torch.testing.assert_close(flow.log_prob(x, context), expected)


def test_samples_invert_to_their_noise_and_repeat_with_a_generator():
    flow = shaken(autoregressive_flow(Layout(5, 0), 4, RationalQuadratic(6, 4.0), [8])).double()
    first, again = (flow.sample(64, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    noise = torch.randn(64, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(flow(first)[0], noise)


def test_orders_reverse_and_shuffle_in_turn_and_keep_cells_in_their_layer():
    sizes = [8, 8, 8]
    orders = layer_orders(sizes, 4, seed=2)
    for order in orders:
        assert torch.equal(order // 8, torch.arange(24) // 8)
        assert torch.equal(order.sort().values, torch.arange(24))
    reverse = torch.arange(24).unflatten(0, (3, 8)).flip(1).flatten()
    assert torch.equal(orders[0], reverse)
    assert torch.equal(orders[2], reverse)
    assert not torch.equal(orders[1], orders[3])
    assert not torch.equal(orders[1] % 8, reverse % 8)
    assert all(map(torch.equal, orders, layer_orders(sizes, 4, seed=2)))
    assert not torch.equal(orders[1], layer_orders(sizes, 4, seed=3)[1])
    flow = autoregressive_flow(Layout(24, 0, (8, 8, 8)), 4, Affine(), [4], seed=2)
    steps = [step.order for step in flow.steps if isinstance(step, Permute)]
    assert all(map(torch.equal, steps, orders))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        MaskedAutoregressive(4, 0, Affine(), [])
    step = MaskedAutoregressive(4, 2, Affine(), [4])
    for direction in (step.forward, step.inverse):
        with pytest.raises(ValueError, match="if, and only if"):
            direction(normal(3, 4))
