"""Energy fractions, layer normalisation, filling of zeros and renormalisation of layers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulacra.core import Geometry, Layer
from simulacra.transforms.maps.dequantise import UniformNoise, ZeroFill
from simulacra.transforms.maps.elementwise import Logit
from simulacra.transforms.maps.fractions import EnergyFractions, LayerNormalise, LogEnergyFractions
from simulacra.transforms.maps.renormalise import renormalise, renormalise_layers

FEW = settings(max_examples=30, deadline=None)
RAGGED = Geometry(
    tuple(Layer(i, ("x", "y"), ((0.0, 1.0, 2.0)[: r + 1], tuple(float(c) for c in range(n + 1))), float(i))
          for i, (r, n) in enumerate([(1, 3), (2, 4), (1, 1)]))
)  # fmt: skip
ENERGIES = arrays(
    "float32", (5, 4), elements=st.one_of(st.just(0.0), st.floats(2**-10, 2**10, width=32))
).map(torch.from_numpy)  # fmt: skip
CELLS = arrays(
    "float32", (4, 12), elements=st.one_of(st.just(0.0), st.floats(2**-7, 2**12, width=32))
).map(torch.from_numpy)  # fmt: skip


@FEW
@given(ENERGIES)
def test_energy_fractions_round_trip_also_with_empty_layers(r: torch.Tensor):
    item = EnergyFractions(2.5)
    u = item(r)
    assert ((u[:, 1:] >= 0) & (u[:, 1:] <= 1)).all()
    torch.testing.assert_close(u[:, 0], r.sum(-1) / 2.5)
    torch.testing.assert_close(
        item.inverse(u), r, atol=1e-3 * float(r.max()) * 1e-3 + 1e-6, rtol=1e-4
    )


def test_energy_fractions_of_an_empty_tail_are_zero():
    u = EnergyFractions()(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(u, torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))


def test_the_inverse_of_energy_fractions_conserves_the_total_for_any_fractions():
    u = torch.tensor([[0.9, 1.7, -0.4, 0.3]])
    assert EnergyFractions().inverse(u).sum().item() == pytest.approx(0.9, rel=1e-6)


@FEW
@given(arrays("float32", (5, 4), elements=st.floats(-12, 4, width=32)).map(torch.from_numpy))
def test_log_fractions_are_the_logits_of_the_fractions_and_round_trip(log_r: torch.Tensor):
    item = LogEnergyFractions()
    y = item(log_r)
    torch.testing.assert_close(item.inverse(y), log_r, atol=1e-4, rtol=1e-5)
    u = EnergyFractions()(log_r.double().exp())
    expected = torch.cat([u[:, :1].log(), Logit(0.0)(u[:, 1:])], -1)
    torch.testing.assert_close(y.double(), expected, atol=1e-4, rtol=1e-4)


@FEW
@given(CELLS)
def test_layer_normalisation_round_trips_and_shares_sum_to_one(cells: torch.Tensor):
    geometry = Geometry(RAGGED.layers)
    item = LayerNormalise(geometry)
    y = item(cells)
    sums = geometry.layer_sums(y[:, :12])
    assert (((sums - 1).abs() < 1e-5) | (sums == 0)).all()
    torch.testing.assert_close(item.inverse(y), cells, atol=1e-5, rtol=1e-5)


@FEW
@given(CELLS, st.booleans(), st.booleans())
def test_filled_zeros_come_back_exactly_and_values_to_rounding(
    cells: torch.Tensor, train: bool, uniform: bool
):
    fill = ZeroFill(1.0, uniform).train(train)
    y = fill(cells, 2**-7)
    assert ((y < 0) == (cells == 0)).all()
    back = fill.inverse(y, 2**-7)
    assert ((back == 0) == (cells == 0)).all()
    torch.testing.assert_close(back, cells, atol=0, rtol=1e-5)


def test_noise_is_drawn_in_training_or_from_a_generator_only():
    x = torch.zeros(1000)
    fill = ZeroFill().eval()
    assert fill(x, 1.0).unique().numel() == 1
    assert fill(x, 1.0, torch.Generator().manual_seed(0)).unique().numel() > 900
    first, again = (fill(x, 1.0, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, again)
    noise = UniformNoise(0.1).eval()
    assert torch.equal(noise(x), torch.full((1000,), 0.05))
    noisy = noise.train()(x)
    assert (noisy >= 0).all()
    assert (noisy <= 0.1).all()
    assert noisy.std() == pytest.approx(0.1 / math.sqrt(12), rel=0.1)
    assert torch.equal(noise.inverse(noisy * 0.99), x)


def test_half_of_the_filled_values_lie_beyond_the_centre_used_without_noise():
    for uniform in (False, True):
        fill = ZeroFill(2.0, uniform)
        noisy = fill.train()(torch.zeros(4000), 1.0)
        centre = fill.eval()(torch.zeros(1), 1.0)
        assert float((noisy < centre).float().mean()) == pytest.approx(0.5, abs=0.04)


def naive(cells: list[float], energy: float, threshold: float) -> list[float]:
    """The definition, cell by cell."""
    if energy <= 0 or energy < threshold:
        return [0.0] * len(cells)
    for number in range(len(cells), 0, -1):
        top = sorted(range(len(cells)), key=lambda i: -cells[i])[:number]
        total = sum(cells[i] for i in top)
        if all(cells[i] > 0 and cells[i] * energy / total >= threshold for i in top):
            return [cells[i] * energy / total if i in top else 0.0 for i in range(len(cells))]
    return [0.0] * len(cells)


def test_renormalisation_follows_its_definition():
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(1000, 8, generator=generator).pow(4) * (
        torch.rand(1000, 8, generator=generator) > 0.3
    )
    energy = 3 * torch.rand(1000, generator=generator)
    done = renormalise(cells, energy, 0.1)
    expected = torch.tensor(
        [naive(c, e, 0.1) for c, e in zip(cells.tolist(), energy.tolist(), strict=True)]
    )
    torch.testing.assert_close(done, expected, atol=1e-5, rtol=1e-5)


@FEW
@given(CELLS, st.floats(0, 100, width=32), st.sampled_from([0.0, 0.01, 1.0]))
def test_renormalised_layers_have_the_asked_sums_and_no_cell_below_the_threshold(
    cells: torch.Tensor, energy: float, threshold: float
):
    geometry = Geometry(RAGGED.layers)
    energies = torch.full((4, 3), energy)
    done = renormalise_layers(cells, energies, geometry, threshold)
    assert not ((done > 0) & (done < threshold)).any()
    possible = (geometry.layer_sums(cells) > 0) & (energies >= threshold)
    asked = torch.where(possible, energies, 0.0)
    torch.testing.assert_close(geometry.layer_sums(done), asked, atol=1e-5, rtol=1e-5)
    assert (done[cells == 0] == 0).all()


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_a_few_showers_are_renormalised_as_many_are(threshold: float):
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(20, 12, generator=generator) * (
        torch.rand(20, 12, generator=generator) > 0.3
    )
    energies = 9 * torch.rand(20, 3, generator=generator)
    many = renormalise_layers(cells, energies, RAGGED, threshold)
    few = [
        renormalise_layers(cells[i : i + 1], energies[i : i + 1], RAGGED, threshold)
        for i in range(20)
    ]
    assert torch.equal(torch.cat(few), many)
