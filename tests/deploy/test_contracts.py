"""What hosts hand over and get back, without an exported file: shapes, units, order, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from simulacra.core import Conditions, UserError
from simulacra.data.base import EventDataModule
from simulacra.deploy.export import pairs
from simulacra.deploy.export.contract import Contract
from simulacra.deploy.export.graph import EVENTS, Sampler
from simulacra.deploy.export.hosts import CONTRACTS
from simulacra.training.generative import GenerativeModule
from support import made


@pytest.fixture(scope="module")
def modules(toy: Callable[..., EventDataModule]) -> Callable[..., GenerativeModule]:
    """Untrained generators with fitted transforms."""
    known: dict[tuple, GenerativeModule] = {}

    def module(model: str, data: str, view: str | None = None) -> GenerativeModule:
        if (model, data, view) not in known:
            events = toy(data, view)
            fitted = made(model, events.spec).fit_transform(events.fit_batches())
            fitted.record.conditions = events.batch(16).conditions(fitted.given)
            known[model, data, view] = fitted
        return known[model, data, view]

    return module


def contract(name: str, module: GenerativeModule) -> Contract:
    cond = module.draw_conditions(EVENTS, torch.Generator().manual_seed(0))
    return CONTRACTS[name](Sampler(module, cond))


def numbers(held: Contract, n: int) -> dict:
    generator = torch.Generator().manual_seed(7)
    return {
        kind: torch.randn(n, width, generator=generator) for kind, width in held.numbers.items()
    }


def test_plain_gives_what_the_module_samples_of_the_same_noise(modules) -> None:
    module = modules("caloinn", "ds1_photons")
    held = contract("plain", module)
    cond = module.draw_conditions(5, torch.Generator().manual_seed(1))
    noise = torch.randn(5, 373, generator=torch.Generator().manual_seed(2))
    cells, *_ = held.run(held.feed(cond, {"normal": noise, "uniform": noise[:, :0]}))
    assert [port.name for port in held.inputs] == ["incident_energy", "normal"]
    assert cells.shape == (5, 368)
    first, second = noise.split([5, 368], 1)
    order = iter([first, second])
    real = torch.randn
    try:
        torch.randn = lambda *shape, **_: next(order)
        expected = module.sample(cond).x
    finally:
        torch.randn = real
    torch.testing.assert_close(cells, expected, rtol=2e-4, atol=1e-4)
    assert float(cells.sum()) > 0


@pytest.mark.grid
def test_par04_takes_one_flat_input_and_gives_shares_in_the_order_r_phi_z(modules) -> None:
    module = modules("caloinn", "ds2")
    plain, held = (contract(name, module) for name in ("plain", "par04"))
    cond, noise = module.draw_conditions(3), numbers(held, 3)
    (flat,) = held.feed(cond, noise)
    energy = cond.values["incident_energy"][:, 0]  # MeV
    assert flat.shape == (3, noise["normal"].shape[1] + 4)
    torch.testing.assert_close(flat[:, -4], energy / 1000 / 1024)
    assert flat[:, -2:].tolist() == [[1, 0]] * 3
    (share,) = held.run((flat,))
    cells = plain.run(plain.feed(cond, {**noise, "uniform": torch.zeros(3, 0)}))[0]
    torch.testing.assert_close(
        share.view(3, 9, 16, 45)[1, 4, 7, 12], cells[1, 12, 7, 4] / energy[1]
    )
    torch.testing.assert_close(share.sum(1), cells.flatten(1).sum(1) / energy)


@pytest.mark.grid
def test_ddml_takes_energy_and_direction_and_gives_gev(modules) -> None:
    module = modules("caloinn", "ild_angles")
    held = contract("ddml", module)
    theta = torch.tensor([[30.0], [75.0]])  # deg
    cond = Conditions(2, {"incident_energy": torch.tensor([[20.0], [80.0]]), "theta": theta})
    flat, noise = held.feed(cond, numbers(held, 2))
    assert flat.shape == (2, 4)
    torch.testing.assert_close(flat[:, 1:].norm(dim=1), torch.ones(2))
    torch.testing.assert_close(flat[:, 3:], torch.cos(theta * math.pi / 180))
    back, _ = held.read((flat, noise))
    torch.testing.assert_close(back.values["theta"], theta)
    torch.testing.assert_close(back.values["incident_energy"], cond.values["incident_energy"])


def test_fastcalosim_takes_four_inputs_and_gives_mev(modules) -> None:
    module = modules("caloinn", "ds1_photons")
    held = contract("fastcalosim", module)
    cond, noise = module.draw_conditions(2), numbers(held, 2)
    inputs = held.feed(cond, noise)
    named = dict(zip([port.name for port in held.inputs], inputs, strict=True))
    assert {name: value.shape[1] for name, value in named.items()} == {
        "inn_einc_in": 1,
        "inn_eta_in": 1,
        "inn_z_energy": 5,
        "cfm_z_shape": 368,
    }
    assert torch.equal(torch.cat([named["inn_z_energy"], named["cfm_z_shape"]], 1), noise["normal"])
    plain = contract("plain", module)
    expected = plain.run(plain.feed(cond, {**noise, "uniform": torch.zeros(2, 0)}))[0]
    torch.testing.assert_close(held.run(inputs)[0], expected)


GRID = pytest.mark.grid  # other data sets, seconds each


@pytest.mark.parametrize(
    ("name", "model", "data", "said"),
    [
        ("par04", "caloinn", "ds1_photons", "cylindrical mesh"),
        ("ddml", "caloinn", "ds1_photons", "regular grid"),
        pytest.param("ddml", "caloinn", "ds2", "cells in x and y", marks=GRID),
        pytest.param(
            "fastcalosim",
            "caloinn",
            "calogan",
            "normal numbers|normal number per layer",
            marks=GRID,
        ),
        pytest.param("fastcalosim", "wgan3d", "ild_10x10", "normal number per layer", marks=GRID),
        pytest.param("fastcalosim", "epic_fm", "jetnet30", "showers of cells", marks=GRID),
    ],
)
def test_a_contract_that_does_not_fit_says_why(modules, name, model, data, said) -> None:
    with pytest.raises(UserError, match=f"contract={name} does not fit {data}.*({said})") as found:
        contract(name, modules(model, data))
    assert "\n" not in str(found.value)


@pytest.mark.grid
def test_uniform_numbers_are_made_of_normal_ones_for_hosts_that_draw_those_alone(modules) -> None:
    held = contract("ddml", modules("wgan3d", "ild_10x10"))
    width = held.sampler.widths["uniform"]
    assert width > 0
    assert held.numbers == {"normal": sum(held.sampler.widths.values()), "uniform": 0}
    split = held.split(torch.randn(4000, held.numbers["normal"]))
    assert float(split["uniform"].min()) >= 0
    assert float(split["uniform"].max()) < 1
    assert float(split["uniform"].mean()) == pytest.approx(0.5, abs=0.02)


def test_pairs_of_a_model_that_makes_nan_are_refused(modules) -> None:
    module = modules("caloinn", "ds1_photons")
    held = contract("plain", module)
    parameter = next(module.cells.parameters())
    before = parameter.data.clone()
    try:
        parameter.data.fill_(math.nan)
        with pytest.raises(UserError, match=r"NaN or infinite.*nothing was exported"):
            pairs.made(held, 0)
    finally:
        parameter.data.copy_(before)
