"""Coupling flows: inverses, log-determinants, normalisation, initialisation and buffers."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Layout
from simulacra.dynamics.flows import (
    ActNorm,
    ContextAffine,
    Coupling,
    Flow,
    Permute,
    Step,
    coupling_flow,
)
from simulacra.dynamics.splines import RationalQuadratic


def shaken(module: torch.nn.Module, scale: float = 0.4) -> torch.nn.Module:
    """Weights away from the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.double()


def steps() -> list[Step]:
    return [
        ActNorm(4),
        Permute(torch.tensor([2, 0, 3, 1])),
        ContextAffine(4, 3, [8]),
        Coupling(4, 3, RationalQuadratic(5, 4.0), [8]),
        Coupling(4, 0, RationalQuadratic(5, 4.0), [8]),
    ]


@pytest.mark.parametrize("step", steps(), ids=lambda step: type(step).__name__)
def test_each_step_has_an_exact_inverse_and_log_determinant(step: Step):
    shaken(step)
    x, context = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    if isinstance(step, Coupling) and step.trunk.layers[0].in_features == 2:
        context = None
    z, log_det = step(x, context)
    back, log_back = step.inverse(z, context)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_back, -log_det)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(step.undo(z, context), x)
    for i in range(6):
        one = None if context is None else context[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(
            lambda v, one=one: step(v[None], one)[0][0], x[i]
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(log_det.expand(6)[i], expected)


def test_a_flow_starts_as_the_identity_up_to_order_and_log_prob_is_normal():
    flow = coupling_flow(Layout(7, 2), 4, RationalQuadratic(6, 5.0), [8], affine=[8])
    x, context = torch.randn(50, 7), torch.randn(50, 2)
    z, log_det = flow(x, context)
    torch.testing.assert_close(z.sort(-1).values, x.sort(-1).values)
    expected = -0.5 * x.square().sum(-1) - 3.5 * math.log(2 * math.pi)
    torch.testing.assert_close(flow.log_prob(x, context), expected)
    assert log_det.abs().max() < 1e-4


def test_the_density_integrates_to_one():
    flow = shaken(coupling_flow(Layout(2, 1), 3, RationalQuadratic(4, 3.0), [8]), scale=0.2)
    axis = torch.linspace(-9, 9, 301, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = flow.log_prob(
            points, torch.full((len(points), 1), 0.7, dtype=torch.float64)
        ).exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-2)


def test_samples_invert_to_their_noise_and_repeat_with_a_generator():
    flow = shaken(coupling_flow(Layout(5, 0), 4, RationalQuadratic(6, 4.0), [8]))
    first, again = (flow.sample(64, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    noise = torch.randn(64, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(flow(first)[0], noise)


def test_initialisation_standardises_what_reaches_each_actnorm():
    generator = torch.Generator().manual_seed(0)
    flow = coupling_flow(Layout(3, 0), 1, RationalQuadratic(4, 4.0), [4])
    x = torch.tensor([5.0, -2.0, 100.0]) + torch.tensor([0.1, 3.0, 40.0]) * torch.randn(
        500, 3, generator=generator
    )
    x[:, 1] = 7.0  # a constant feature must not divide by zero
    flow.fit([(x, None, None)])
    z, _ = flow.steps[0](x)
    assert z.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(
        z.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]), atol=1e-4, rtol=0
    )


def test_a_handful_of_events_does_not_set_the_scales_of_all_others():
    flow = coupling_flow(Layout(3, 0), 1, RationalQuadratic(4, 4.0), [4])
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.fit([(torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), None, None)])
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())


def test_permutations_are_buffers_of_a_fixed_seed():
    first, again, other = (
        coupling_flow(Layout(9, 0), 4, RationalQuadratic(4, 4.0), [4], seed=seed)
        for seed in (0, 0, 1)
    )
    orders = [key for key in first.state_dict() if key.endswith("order")]
    assert len(orders) == 4
    assert all(torch.equal(first.state_dict()[key], again.state_dict()[key]) for key in orders)
    assert any(not torch.equal(first.state_dict()[key], other.state_dict()[key]) for key in orders)


def test_a_flow_learns_a_ring_that_no_gaussian_describes():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    angle = 2 * math.pi * torch.rand(300, 1, generator=generator)
    radius = 1.4 + 0.1 * torch.randn(300, 1, generator=generator)
    x = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
    flow = coupling_flow(Layout(2, 0), 4, RationalQuadratic(5, 4.0), [32])
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-2)
    for _ in range(60):
        loss = -flow.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gaussian = 1 + math.log(2 * math.pi)  # entropy of the Gaussian with the ring's variance 1
    exact = math.log(2 * math.pi * 1.4) + 0.5 * math.log(2 * math.pi * math.e * 0.01)
    assert loss.item() < exact + 0.35 * (gaussian - exact)


def test_a_single_feature_is_steered_by_the_context():
    """Its density, integrated by a fine grid, is normalised for each context, and differs between them."""
    flow = shaken(coupling_flow(Layout(1, 2), 2, RationalQuadratic(5, 4.0), [8]))
    line = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    contexts = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        densities = [flow.log_prob(line[:, None], c.expand(len(line), 2)).exp() for c in contexts]
    for density in densities:
        assert float(torch.trapezoid(density, line)) == pytest.approx(1.0, abs=1e-3)
    assert float((densities[0] - densities[1]).abs().max()) > 0.01


def test_a_coupling_of_one_feature_without_a_context_is_refused():
    with pytest.raises(ValueError, match="at least two features"):
        Coupling(1, 0, RationalQuadratic(), [4])


def test_flow_keeps_the_number_of_features():
    assert Flow(3, [ActNorm(3)]).sample(2).shape == (2, 3)
