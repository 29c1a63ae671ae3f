"""Functions of one number that rise."""

from __future__ import annotations

import torch

from simulacra.nn.monotone import Monotone


def test_it_rises_whatever_its_weights_and_its_context_are() -> None:
    generator = torch.Generator().manual_seed(0)
    net = Monotone(3, 5, [8])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=generator))
    z = torch.linspace(-6, 6, 200, dtype=torch.float64)
    for context in 3 * torch.randn(20, 3, generator=generator, dtype=torch.float64):
        values = net.double()(z, context.expand(200, -1)).detach()
        assert float(values.diff().min()) > 0


def test_it_starts_near_the_identity_and_needs_no_context() -> None:
    z = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(Monotone(0, 4, [8])(z), z, atol=0.1, rtol=0)
