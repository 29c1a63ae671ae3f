"""Pitfalls between showers and a flow: noise and threshold, cuts after scaling, edges, empty layers."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, Geometry, Layer, Spec
from simulacra.core.spec import Field
from simulacra.transforms.maps.dequantise import UniformNoise, ZeroFill
from simulacra.transforms.maps.elementwise import Log, Logit
from simulacra.transforms.maps.fractions import EnergyFractions, LogEnergyFractions
from simulacra.transforms.maps.renormalise import renormalise_layers
from simulacra.transforms.showers import ShowerTransform
from support import spec_of

SIZES = (3, 8, 2)
GEOMETRY = Geometry(
    tuple(
        Layer(i, ("alpha", "r"), ((0.0, 1.0), tuple(float(k) for k in range(n + 1))), float(i))
        for i, n in enumerate(SIZES)
    )
)
SPEC = Spec(
    "toy", "layers", (sum(SIZES),), "MeV",
    conditions=(Field("incident_energy", "MeV", low=1.0, high=4e6, log=True, role="energy"),),
    geometry=GEOMETRY, threshold=0.5, cut=1.0,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def showers(n: int = 400) -> Batch:
    """Half of the cells are empty, and in some events whole layers or everything."""
    source = generator()
    energy = 10 ** (1 + 5 * torch.rand(n, 1, generator=source))
    x = energy * torch.rand(n, sum(SIZES), generator=source).pow(6)
    x = torch.where(x < SPEC.threshold, 0.0, x)
    x[torch.rand(n, sum(SIZES), generator=source) < 0.5] = 0
    x[:40, 3:11], x[20:60, :3], x[:5] = 0, 0, 0
    return Batch(x, {"incident_energy": energy})


def fitted() -> ShowerTransform:
    transform = ShowerTransform(SPEC, SPEC.conditions)
    transform.fit([showers()])
    return transform


@pytest.mark.parametrize("name", ["ds1_photons", "ds2", "ild"])
def test_noise_lies_below_the_readout_threshold(name: str):
    spec = spec_of(name, None)
    transform = ShowerTransform(spec, spec.conditions)
    floor, cut = float(transform.floor), spec.threshold or spec.cut
    assert 0 < floor <= cut * (1 + 1e-6)  # rounded to single precision
    noise = torch.exp(transform.fill(torch.zeros(100_000), floor, generator())) * floor
    assert float(noise.max()) < floor
    assert float(noise.median()) < 0.6 * cut


def test_noise_never_adds_or_removes_a_hit():
    transform, batch = fitted(), showers()
    latent = transform.train()(batch, generator(1))
    empty = batch.x == 0
    cells = transform.cells.inverse(latent.x["cells"])
    assert bool((cells[empty] < 0).all())
    assert bool((cells[~empty] >= 0).all())
    for uniform in (False, True):
        fill = ZeroFill(1.0, uniform)
        back = fill.inverse(fill(batch.x, 0.5, generator(2)), 0.5)
        assert torch.equal(back == 0, empty)
        torch.testing.assert_close(back, batch.x, rtol=1e-5, atol=0)


def test_uniform_noise_moves_an_energy_by_less_than_its_width_and_its_zeros_come_back():
    noise, x = UniformNoise(1e-3), showers().x
    noisy = noise(x, generator(1))
    assert float((noisy - x).max()) <= 1.1e-3 + float(torch.finfo(x.dtype).eps * x.max())
    back = noise.inverse(noisy)
    assert torch.equal(back == 0, x == 0)


def test_a_cut_after_scaling_loses_energy_and_the_common_scaling_does_not():
    source, threshold = generator(), 0.5
    shape = torch.rand(300, sum(SIZES), generator=source).pow(4)
    energies = 10 ** (3 * torch.rand(300, 3, generator=source) - 0.5)
    sums = GEOMETRY.layer_sums(shape)
    naive = shape * GEOMETRY.spread(energies / sums)
    cut = torch.where(naive < threshold, 0.0, naive)
    lost = 1 - GEOMETRY.layer_sums(cut) / energies
    assert float(lost.mean()) > 0.05  # what the card warns of
    ours = renormalise_layers(shape, energies, GEOMETRY, threshold)
    assert not bool(((ours > 0) & (ours < threshold)).any())
    wanted = torch.where(energies < threshold, 0.0, energies)
    torch.testing.assert_close(GEOMETRY.layer_sums(ours), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [1e-6, 1e-2])
def test_a_logit_is_finite_at_its_ends_in_single_precision(alpha: float):
    x = torch.tensor([0.0, 1e-38, 1e-7, 0.5, 1 - 6e-8, 1.0], requires_grad=True)
    y = Logit(alpha)(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    assert float(y.detach().abs().max()) < 14 + 1e-3  # a spline's box of 14 holds them
    torch.testing.assert_close(Logit(alpha).inverse(y), x, atol=2e-7, rtol=0)


def test_logarithms_and_fractions_are_finite_at_the_ends_in_single_precision():
    x = torch.tensor([[0.0], [1e-30], [4e6]])
    assert torch.isfinite(Log(1e-8)(x)).all()
    assert torch.isfinite(Log(1e-8).inverse(torch.tensor([[1e3], [-1e3]]))).all()
    extreme = torch.tensor([[30.0, -60.0, 25.0], [-60.0, 30.0, -60.0], [0.0, 0.0, 0.0]])
    fractions = LogEnergyFractions()
    y = fractions(extreme)
    assert torch.isfinite(y).all()
    torch.testing.assert_close(fractions.inverse(y), extreme, atol=1e-4, rtol=1e-5)
    zeros = EnergyFractions(2.0)(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert torch.isfinite(zeros).all()


def test_a_cell_exactly_at_the_floor_is_a_hit_and_stays_one():
    transform = fitted().eval()
    x = torch.full((1, sum(SIZES)), SPEC.threshold)
    batch = Batch(x, {"incident_energy": torch.tensor([[50.0]])})
    latent = transform(batch, generator())
    assert all(torch.isfinite(value).all() for value in latent.x.values())
    back = transform.inverse(latent, batch.conditions())
    torch.testing.assert_close(back.x, x, rtol=1e-3, atol=1e-3)


def test_empty_layers_and_showers_are_finite_numbers_and_come_back_empty():
    transform, batch = fitted().eval(), showers()
    assert bool((batch.x[:5] == 0).all())
    for source in (None, generator(4)):
        latent = transform(batch, source)
        assert all(torch.isfinite(value).all() for value in latent.x.values())
        back = transform.inverse(latent, batch.conditions())
        assert torch.equal(GEOMETRY.layer_sums(back.x) == 0, GEOMETRY.layer_sums(batch.x) == 0)
        assert torch.isfinite(transform.log_det(batch)).all()


def test_an_empty_layer_does_not_dominate_the_standardised_numbers():
    """Fractions of an empty layer are pure noise; were they divided by it, they would be far out."""
    transform, batch = fitted().eval(), showers()
    latent = transform(batch, generator(5))
    empty = GEOMETRY.spread((GEOMETRY.layer_sums(batch.x) == 0).float()).bool()
    assert float(latent.x["cells"][empty].abs().max()) < 6
    assert float(latent.x["energies"].abs().max()) < 8
