"""Layers as images: exact inverse, noise below the floor, padding, rotation; the calibrated spectrum."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simulacra.core import Batch, Field, Latent, Spec, regular_grid
from simulacra.transforms.layer_images import LayerImageTransform, LogNormalFill
from simulacra.transforms.spectrum import SpectrumCalibration

ENERGY = Field("incident_energy", "GeV", low=10.0, high=100.0, role="energy")
FLOOR = 0.1  # MeV


def spec(rows: int, cols: int, periodic: int | None = None) -> Spec:
    axis = [tuple(float(k) for k in range(n + 1)) for n in (rows, cols)]
    return Spec(
        "toy",
        "grid",
        (3, rows, cols),
        "MeV",
        conditions=(ENERGY,),
        geometry=regular_grid(3, (axis[0], axis[1]), periodic=periodic),
        cut=FLOOR,
    )


def showers(n: int, rows: int, cols: int, seed: int = 0) -> Batch:
    """Log-normal cells, two thirds empty, some layers altogether."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    x = FLOOR * torch.exp(6 * rand(n, 3, rows, cols))
    x = torch.where(rand(n, 3, rows, cols) < 0.67, 0.0, x)
    x = torch.where(rand(n, 3, 1, 1) < 0.1, 0.0, x)
    return Batch(x, {"incident_energy": 10 + 90 * rand(n, 1)})


def transform(spec: Spec, block: tuple[int, int] = (2, 2), **changes) -> LayerImageTransform:
    arguments = {
        "floor": FLOOR, "fill": LogNormalFill(2.0, 0.2), "smear": 0.0, "decades": 7.0, "alpha": 0.01,
        "rotate": False, **changes,
    }  # fmt: skip
    return LayerImageTransform(spec, spec.conditions, block=block, **arguments)


@pytest.mark.parametrize(
    ("rows", "cols", "block"), [(4, 6, (2, 2)), (5, 3, (2, 2)), (4, 4, (3, 4))]
)
def test_what_a_transform_does_is_undone_exactly(rows: int, cols: int, block: tuple[int, int]):
    batch = showers(50, rows, cols)
    made = transform(spec(rows, cols), block)
    made.fit([batch])
    for generator in (None, torch.Generator().manual_seed(3)):
        latent = made.eval()(batch, generator)
        assert latent.x["cells"].shape[1] == 3 * made.padded[0] * made.padded[1]
        assert all(size % b == 0 for size, b in zip(made.padded, block, strict=True))
        back = made.inverse(latent, batch.conditions())
        assert torch.equal(back.x > 0, batch.x > 0)
        torch.testing.assert_close(back.x, batch.x, rtol=1e-4, atol=0)


def test_the_sum_of_a_layer_is_that_of_its_energy_and_nothing_lies_under_the_floor():
    batch = showers(200, 4, 4)
    made = transform(spec(4, 4))
    made.fit([batch])
    latent = made(batch, torch.Generator().manual_seed(0))
    latent.x["cells"] = torch.randn(200, 48, generator=torch.Generator().manual_seed(1))
    x = made.inverse(latent, batch.conditions()).x
    assert not bool(((x > 0) & (x < FLOOR)).any())
    torch.testing.assert_close(x.sum((-1, -2)), batch.x.sum((-1, -2)), rtol=1e-5, atol=1e-5)


def test_empty_cells_are_log_normal_noise_that_never_reaches_the_floor():
    fill = LogNormalFill(2.0, 0.2)
    empty = torch.zeros(20000)
    y = fill(empty, FLOOR, torch.Generator().manual_seed(0)) / torch.log(torch.tensor(10.0))
    assert float(y.mean()) == pytest.approx(-2, abs=0.01)
    assert float(y.std()) == pytest.approx(0.2, rel=0.03)
    wide = LogNormalFill(0.1, 1.0)(empty, FLOOR, torch.Generator().manual_seed(0))
    assert float(wide.max()) < 0
    assert not bool(fill.inverse(wide, FLOOR).any())
    assert len(fill.eval()(empty, FLOOR).unique()) == 1


def test_one_map_serves_all_cells_of_a_layer_and_its_largest_cell_is_at_the_upper_end():
    batch = showers(50, 4, 6)
    made = transform(spec(4, 6))
    made.fit([batch])
    top = torch.log(batch.x.amax((0, 2, 3)) / FLOOR)
    torch.testing.assert_close(made.cells.top, top)
    y = torch.linspace(-3, 8, 24).repeat(3)[None]
    z = made.cells(y)[0].view(3, 24)
    expected = (y[0, :24] - top[1]) / (7 * torch.log(torch.tensor(10.0))) + 1
    expected = torch.logit(0.01 + 0.98 * expected.clamp(0, 1))
    torch.testing.assert_close(z[1], expected)


def test_the_slope_of_the_map_is_that_of_autograd():
    batch = showers(50, 4, 6)
    made = transform(spec(4, 6))
    made.fit([batch])
    y = torch.linspace(-4, 2, 72)[None].requires_grad_()
    z = made.cells(y)
    (slope,) = torch.autograd.grad(z.sum(), y)
    torch.testing.assert_close(made.cells.log_slope(z), slope.log(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        made.log_slope(Latent({"cells": z})), slope.log().sum(-1), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("periodic", [0, 1])
def test_training_showers_are_turned_as_a_whole_along_the_periodic_axis(periodic: int):
    batch = showers(64, 4, 6)
    made = transform(spec(4, 6, periodic), rotate=True)
    made.fit([batch])
    turned = made.inverse(made(batch, torch.Generator().manual_seed(0)), batch.conditions()).x
    count = (4, 6)[periodic]
    found = []
    for one, other in zip(batch.x, turned, strict=True):
        rolled = [one.roll(k, 1 + periodic) for k in range(count)]
        found.append([torch.allclose(r, other, rtol=1e-3) for r in rolled].index(True))
    assert set(found) == set(range(count))
    assert torch.allclose(
        made.inverse(made.eval()(batch), batch.conditions()).x, batch.x, rtol=1e-3
    )
    assert not transform(spec(4, 6, None), rotate=True).rotate


def test_the_calibrated_spectrum_is_the_true_one():
    true, shape = showers(400, 4, 4, 0), showers(400, 4, 4, 1).x
    made = torch.where(shape > 0, FLOOR * (shape / FLOOR) ** 0.8, 0.0)  # too soft
    calibration = SpectrumCalibration((ENERGY,), events=300)
    assert torch.equal(calibration(made, torch.tensor(FLOOR)), made)
    calibration.fit_true([true[:250], true[250:]], FLOOR)
    assert torch.equal(calibration(made, torch.tensor(FLOOR)), made)
    assert torch.equal(
        calibration.conditions().values["incident_energy"], true.cond["incident_energy"][:300]
    )
    calibration.fit_generated(Batch(made, true.cond))
    result = calibration(made, torch.tensor(FLOOR))
    assert torch.equal(result > 0, made > 0)
    assert not bool(((result > 0) & (result < FLOOR)).any())
    order = made[made > 0].argsort()
    assert bool((result[made > 0][order].diff() >= 0).all())
    levels = torch.linspace(0.02, 0.98, 49)
    spectra = [torch.quantile(x[x > 0].log(), levels) for x in (result, true.x, made)]
    assert float((spectra[0] - spectra[1]).abs().max()) < 0.05
    assert float((spectra[2] - spectra[1]).abs().max()) > 0.5
    calibration.forget()
    assert torch.equal(calibration(made, torch.tensor(FLOOR)), made)


def test_a_weighted_spectrum_is_that_of_repeated_showers():
    true, made = showers(200, 4, 4, 0), showers(200, 4, 4, 1)
    counts = torch.arange(200) % 3
    true = replace(true, x=torch.where(counts[:, None, None, None] == 0, 5 * true.x, true.x))
    index = torch.repeat_interleave(torch.arange(200), counts)
    floor, found = torch.tensor(FLOOR), []
    weighted = replace(true, weight=counts.float()), replace(made, weight=counts.float())
    for one, other in (weighted, (true[index], made[index]), (true, made)):
        calibration = SpectrumCalibration((ENERGY,), events=len(one))
        calibration.fit_true([one], FLOOR)
        calibration.fit_generated(other)
        found.append(calibration(made.x, floor).sum())
    assert abs(found[0] / found[1] - 1) < 0.02
    assert found[2] / found[1] > 1.3


def test_a_calibration_repeats_its_events_where_there_are_too_few_and_travels_with_its_state():
    true = showers(7, 4, 4)
    calibration = SpectrumCalibration((ENERGY,), events=10)
    calibration.fit_true([true], FLOOR)
    energies = calibration.conditions().values["incident_energy"]
    assert torch.equal(energies[7:], true.cond["incident_energy"][:3])
    calibration.fit_generated(Batch(2 * true.x, true.cond))
    other = SpectrumCalibration((ENERGY,), events=10)
    other.load_state_dict(calibration.state_dict())
    floor = torch.tensor(FLOOR)
    assert torch.equal(other(true.x, floor), calibration(true.x, floor))
