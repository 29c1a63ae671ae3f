"""The flow of an event's numbers against zuko's own way through the same networks."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from simulacra.core import Layout
from simulacra.dynamics.jet_level import JetLevelFlow

EVENTS = 50
LAYOUTS = pytest.mark.parametrize("layout", [(1, 0), (1, 2), (4, 0), (4, 3)], ids=str)


def made(layout: tuple[int, int]) -> tuple[JetLevelFlow, torch.Tensor, torch.Tensor | None]:
    """A flow that is far from the identity, numbers inside and outside the box, and a context."""
    torch.manual_seed(0)
    flow = JetLevelFlow(Layout(*layout), hidden=16, transforms=3, bins=5).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(2.0)
    x = 3 * torch.randn(EVENTS, layout[0], dtype=torch.float64)
    return flow, x, torch.randn(EVENTS, layout[1], dtype=torch.float64) if layout[1] else None


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@LAYOUTS
def test_densities_and_their_gradients_are_those_of_zuko(layout: tuple[int, int]):
    flow, x, context = made(layout)
    ours, theirs = flow.log_prob(x, context), flow.flow(context).log_prob(x)
    torch.testing.assert_close(ours, theirs)
    weights = list(flow.parameters())
    found, expected = (torch.autograd.grad(log.sum(), weights) for log in (ours, theirs))
    torch.testing.assert_close(found, expected)


@LAYOUTS
@pytest.mark.parametrize("gradients", [True, False])
def test_samples_are_those_of_zuko(layout: tuple[int, int], gradients: bool):
    flow, x, context = made(layout)
    z = torch.randn(x.shape, generator=noise(), dtype=torch.float64)
    with torch.set_grad_enabled(gradients):
        found = flow.sample(EVENTS, context, noise())
    torch.testing.assert_close(found, flow.flow(context).transform.inv(z))
    assert found.requires_grad == gradients
    assert not found.is_inference()


def test_samples_follow_weights_that_change_and_copies_stand_alone():
    flow, _, context = made((4, 3))
    with torch.no_grad():
        first, other = flow.sample(EVENTS, context, noise()), deepcopy(flow)
        for parameter in other.parameters():
            parameter.mul_(0.5)
        assert torch.equal(flow.sample(EVENTS, context, noise()), first)
        z = torch.randn(first.shape, generator=noise(), dtype=torch.float64)
        expected = other.flow(context).transform.inv(z)
        torch.testing.assert_close(other.sample(EVENTS, context, noise()), expected)


def test_samples_do_not_depend_on_mixed_precision():
    flow, _, context = made((4, 3))
    flow, context = flow.float(), context.float()
    with torch.no_grad():
        plain = flow.sample(EVENTS, context, noise())
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(flow.sample(EVENTS, context, noise()), plain)
