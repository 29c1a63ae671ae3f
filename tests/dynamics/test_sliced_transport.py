"""Sliced transport against closed forms and another library."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from simulacra.dynamics.sliced_transport import sliced_transport, transport


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_squared_distance_of_wasserstein_of_another_library() -> None:
    x, y = normal(50, 1, 0), 0.5 + 2 * normal(80, 1, 1)
    p, q = (torch.rand(n, generator=torch.Generator().manual_seed(n)) for n in (50, 80))
    found = transport(x.T, y.T, p, q)
    shares = [(w / w.sum()).double().numpy() for w in (p, q)]
    expected = ot.wasserstein_1d(x[:, 0].double().numpy(), y[:, 0].double().numpy(), *shares, p=2)
    np.testing.assert_allclose(float(found), float(expected), rtol=1e-5)


def test_a_shift_costs_its_square_over_the_dimensions() -> None:
    x, g = normal(64, 4, 0), torch.Generator().manual_seed(3)
    apart = float(sliced_transport(x, x + torch.tensor([2.0, 0, 0, 0]), 4000, generator=g))
    assert apart == pytest.approx(4 / 4, rel=0.05)


def test_a_weight_of_two_is_two_events_and_none_leaves_one_out() -> None:
    x, y = normal(6, 2, 0), normal(6, 2, 1)
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 2.0, 1.0])
    index = torch.repeat_interleave(torch.arange(6), weight.long())

    def g() -> torch.Generator:
        return torch.Generator().manual_seed(2)

    one = sliced_transport(x, y, 20, weight, weight, g())
    two = sliced_transport(x[index], y[index], 20, generator=g())
    torch.testing.assert_close(one, two)
    assert abs(float(one - sliced_transport(x, y, 20, generator=g()))) > 1e-3


def test_equal_weights_are_none_and_gradients_reach_both() -> None:
    x, y = normal(5, 2, 0).requires_grad_(), normal(5, 2, 1).requires_grad_()
    plain = transport(x.T, y.T)
    torch.testing.assert_close(transport(x.T, y.T, torch.ones(5), torch.ones(5)), plain)
    plain.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    torch.testing.assert_close(x.grad.sum(0), -y.grad.sum(0))
