"""The bounded affine map: identity start, inverse, slope, bound, RealNVP couplings."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Layout
from simulacra.dynamics.affine import Affine
from simulacra.dynamics.flows import coupling_flow


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_zeros_give_the_identity():
    x = numbers(5, 3)
    y, log_slope = Affine()(x, torch.zeros(2, 5, 3, dtype=torch.float64))
    assert torch.equal(y, x)
    assert torch.equal(log_slope, torch.zeros_like(x))


def test_it_scales_and_shifts_as_written():
    """y = x exp(a tanh(s / a)) + t."""
    y, log_slope = Affine(2.0)(torch.tensor([3.0]), torch.tensor([[1.0], [0.5]]))
    scale = 2.0 * math.tanh(0.5)
    assert y.item() == pytest.approx(3.0 * math.exp(scale) + 0.5)
    assert log_slope.item() == pytest.approx(scale)


def test_the_inverse_undoes_it_and_the_slope_is_autograds():
    x, free = numbers(6, 4).requires_grad_(), 3 * numbers(2, 6, 4)
    y, log_slope = Affine()(x, free)
    back, log_back = Affine().inverse(y, free)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_back, -log_slope)
    torch.testing.assert_close(log_slope, torch.autograd.grad(y.sum(), x)[0].log())


def test_the_log_scale_stays_within_its_limit():
    free = torch.tensor([[1e30, -1e30], [0.0, 0.0]])
    _, log_slope = Affine(1.5)(torch.ones(2), free)
    torch.testing.assert_close(log_slope, torch.tensor([1.5, -1.5]))
    with pytest.raises(ValueError, match="positive limit"):
        Affine(0.0)


def test_a_deep_coupling_flow_inverts_in_single_precision_and_integrates_to_one():
    torch.manual_seed(0)
    flow = coupling_flow(Layout(2, 0), 6, Affine(), [16])
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        x = 3 * torch.randn(500, 2)
        z, log_det = flow(x)
        back, log_back = flow.inverse(z)
        assert (back - x).abs().max() < 1e-4
        torch.testing.assert_close(log_back, -log_det, atol=1e-4, rtol=1e-4)
        axis = torch.linspace(-16, 16, 241)
        density = flow.log_prob(torch.cartesian_prod(axis, axis)).double().exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-2)
