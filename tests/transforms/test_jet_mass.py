from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jet_toys import jet_spec, jets
from jet_toys import relative_mass as independent
from simulacra.core import Batch, Latent, UserError
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.transforms.jet_mass import FARTHEST, JetMassTransform, relative_mass, with_mass


def made(calibrate: bool = True) -> JetMassTransform:
    transform = JetMassTransform(jet_spec(), ("jet_class",), calibrate=calibrate)
    transform.fit([jets(0, 300), jets(300, 600)])
    return transform.eval()


def masses(batch: Batch) -> Tensor:
    return relative_mass(batch.x, 2)


def test_the_mass_is_that_of_the_sum_of_four_momenta() -> None:
    batch = jets(0, 300)
    torch.testing.assert_close(masses(batch), independent(batch), rtol=1e-6, atol=1e-9)


def test_jets_come_back_with_their_mass_among_their_numbers() -> None:
    transform, batch = made(), jets(0, 300)
    latent = transform(batch)
    columns = transform.numbers(latent.x["event"], batch.conditions())
    assert transform.width == 1 + 1 + 3 + 1 + 4
    torch.testing.assert_close(columns[:, 1], masses(batch).float(), rtol=1e-3, atol=1e-5)
    back = transform.inverse(latent, batch.conditions())
    torch.testing.assert_close(back.x, batch.x, rtol=1e-3, atol=2e-3)
    assert set(back.event) == set(batch.event)
    torch.testing.assert_close(back.event["mass"], batch.event["mass"], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("calibrate", [False, True])
def test_whatever_is_generated_has_exactly_the_mass_of_the_event(calibrate: bool) -> None:
    transform, g = made(calibrate), torch.Generator().manual_seed(0)
    cond = jets(0, 100).conditions()
    event = 0.8 * torch.randn(200, transform.width, generator=g)
    mask = transform.mask(event, cond)
    points = torch.randn(200, 30, 3, generator=g) * mask[..., None]
    jet = transform.inverse(Latent({"event": event, "points": points}, None, mask), cond)
    wanted = transform.numbers(event, cond)[:, 1]
    assert bool((mask.sum(1) > 1).all())
    torch.testing.assert_close(masses(jet).float(), wanted, rtol=2e-5, atol=1e-6)
    raw = transform.points.inverse(points, mask)
    assert float((relative_mass(raw, 2) / wanted - 1).abs().mean()) > 0.1


def test_stretching_keeps_momenta_and_centre_and_ignores_the_order() -> None:
    batch = jets(0, 100)
    assert batch.mask is not None
    wanted = 1.3 * masses(batch)
    found = with_mass(batch.x, batch.mask, wanted, 2)
    torch.testing.assert_close(relative_mass(found, 2), wanted, rtol=1e-5, atol=1e-7)
    assert torch.equal(found[..., 2], batch.x[..., 2])
    share = batch.x[..., 2:] / batch.x[..., 2:].sum(1, keepdim=True)
    for column in (0, 1):
        before, after = ((share[..., 0] * x[..., column]).sum(1) for x in (batch.x, found))
        torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    moved = with_mass(batch.x[:, order], batch.mask[:, order], wanted, 2)
    torch.testing.assert_close(moved, found[:, order], atol=1e-6, rtol=0)


def test_a_single_particle_has_no_mass_and_none_flies_too_far() -> None:
    x = torch.tensor([[[0.1, 0.2, 0.9], [0.0, 0.0, 0.0]], [[0.1, 0.0, 0.5], [-0.1, 0.0, 0.5]]])
    mask = torch.tensor([[True, False], [True, True]])
    found = with_mass(x, mask, torch.tensor([0.5, 100.0]), 2)
    assert torch.equal(found[0], x[0])
    assert float(found[1, :, 0].abs().max()) == pytest.approx(FARTHEST)
    none = with_mass(x, mask, torch.zeros(2), 2)
    assert float(relative_mass(none, 2).abs().max()) < 1e-6


def test_the_mass_has_a_gradient_and_massless_jets_have_none() -> None:
    x = jets(0, 4).x.double().requires_grad_()
    relative_mass(x, 2).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert float(x.grad.abs().sum()) > 0
    still = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
    relative_mass(still, 2).sum().backward()
    assert still.grad is not None
    assert float(still.grad.abs().sum()) == 0


def test_showers_have_no_mass() -> None:
    with pytest.raises(UserError, match="that make a mass"):
        JetMassTransform(ild_cloud(), ("incident_energy",))
