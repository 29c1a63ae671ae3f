"""Energies as levels: nothing beyond the ends, no combs, what is lost, and the likelihood of energies."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Batch, Field, Latent, Spec, UserError, regular_grid
from simulacra.transforms.image_levels import ImageLevels
from simulacra.transforms.maps.levels import LogLevels
from simulacra.transforms.shower_levels import LEAST, ShowerLevels
from toy_showers import TOY, layers_spec, stack, toy

IMAGE = Spec(
    "toy", "image", (1, 5, 4), "GeV", conditions=(Field("kind", low=0.0, high=1.0),),
    geometry=regular_grid(1, (range(6), range(5))), threshold=1e-3, cut=1e-3,
)  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, seed: int = 0) -> Batch:
    x = 1e-3 * torch.exp(6 * torch.rand(n, 1, 5, 4, generator=seeded(seed)))
    empty = torch.rand(n, 1, 5, 4, generator=seeded(seed + 1)) < 0.5
    return Batch(torch.where(empty, 0.0, x), {"kind": torch.rand(n, 1, generator=seeded(2))})


@pytest.mark.parametrize("count", [3, 16, 256])
def test_a_level_comes_back_as_itself_and_the_energy_within_its_width(count: int) -> None:
    levels, reach = LogLevels(count), torch.tensor([[3.0], [9.0]])
    log = torch.rand(2, 2000, generator=seeded(0)) * reach
    log[:, :500] = -0.1
    log[:, 500], log[:, 501] = 0.0, reach[:, 0]
    level = levels(log, reach)
    assert torch.equal(level, level.round())
    assert level.min() == 0
    assert torch.equal(level[:, 500:502], torch.tensor([[1.0, count - 1]] * 2))
    back = levels.inverse(level, reach, seeded(1))
    assert torch.equal(back < 0, log < 0)
    width = reach / (count - 1)
    assert bool(((back - log).abs() <= width * 1.001)[:, 500:].all())
    again = levels(back, reach)
    assert float((again != level).float().mean()) < 1e-3  # but for rounding at an edge


def test_energies_come_back_spread_evenly_over_their_level_and_not_as_a_comb() -> None:
    levels, reach = LogLevels(5), torch.tensor(4.0)
    back = levels.inverse(torch.full((20000,), 3.0), reach, seeded(0))
    place = (back - 2).sort().values  # level 3 goes from 2 to 3
    even = (torch.arange(20000) + 0.5) / 20000
    assert float((place - even).abs().max()) < 0.02  # a comb at the middle: 0.5
    assert len(back.unique()) > 19000
    other = levels.inverse(torch.full((20000,), 3.0), reach, seeded(1))
    assert not torch.equal(back, other)


def test_the_slope_is_that_of_a_line_through_the_edges_of_a_level() -> None:
    levels, reach = LogLevels(9), torch.tensor(4.0)
    found = levels.log_slope(torch.tensor([0.0, 1.0, 8.0]), reach)
    torch.testing.assert_close(found, torch.tensor([0.0, math.log(2), math.log(2)]))


def test_too_few_levels_are_refused() -> None:
    with pytest.raises(UserError, match="two levels"):
        LogLevels(2)


def test_what_is_no_number_stays_none() -> None:
    levels = LogLevels(8)
    back = levels.inverse(torch.tensor([torch.nan, 2.0]), torch.tensor(3.0), seeded(0))
    assert bool(back[0].isnan())
    assert bool(back[1].isfinite())
    assert bool(levels(torch.tensor([torch.nan]), torch.tensor(3.0)).isnan())


@pytest.mark.parametrize("spec", [TOY, layers_spec(stack((5, 25), (5, 5), (1, 50)))])
def test_layer_energies_and_empty_cells_of_showers_come_back_exactly(spec: Spec) -> None:
    batch = toy(400, 0)
    batch = Batch(batch.x.reshape(len(batch), *spec.shape), batch.cond)
    made = ShowerLevels(spec, spec.conditions, levels=64)
    made.fit([batch])
    latent = made.eval()(batch)
    assert latent.x["cells"].max() == 63
    back = made.inverse(latent, batch.conditions(), seeded(0))
    sums = [made.geometry.layer_sums(b.x.flatten(1)) for b in (back, made_real(made, batch))]
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-4, atol=1e-2)
    flat, true = back.x.flatten(1), made.resolved(batch)
    hit = true > 0
    assert float(((flat > 0) != hit).float().mean()) < 2e-3  # some that end below the floor
    both = hit & (flat > 0)
    off = (flat[both] / true[both]).log()
    assert float(off.std()) < 0.1  # a level is 0.14 wide at the highest energy
    assert not made.exact


def made_real(made: ShowerLevels, batch: Batch) -> Batch:
    return Batch(made.resolved(batch), batch.cond)


def test_more_levels_lose_less() -> None:
    batch, lost = toy(400, 0), []
    for count in (8, 32, 128):
        made = ShowerLevels(TOY, TOY.conditions, levels=count)
        made.fit([batch])
        back = made.inverse(made.eval()(batch), batch.conditions(), seeded(0))
        both = (back.x > 0) & (batch.x > 0)
        lost.append(float((back.x[both] / batch.x[both]).log().std()))
    assert lost[0] > 3 * lost[1] > 9 * lost[2]


def test_a_level_of_a_faint_layer_is_finer_and_no_cell_lies_beyond_the_last() -> None:
    batch = toy(400, 0)
    made = ShowerLevels(TOY, TOY.conditions, levels=64)
    made.fit([batch])
    latent = made.eval()(batch)
    reach = made.reach(latent.x["layers"], len(batch))
    expected = made.geometry.layer_sums(batch.x.flatten(1)).clamp(min=1e-9).log().clamp(min=LEAST)
    torch.testing.assert_close(reach, expected, rtol=1e-3, atol=1e-3)  # the floor is 1 MeV
    assert latent.x["cells"].max() <= 63
    assert float(reach.max() - reach.min()) > 3


def test_a_layer_with_energy_but_no_hit_holds_it_where_most_showers_have_one() -> None:
    batch = toy(400, 0)
    made = ShowerLevels(TOY, TOY.conditions, levels=16)
    made.fit([batch])
    latent = made.eval()(batch[:5])
    empty = Latent({**latent.x, "cells": torch.zeros_like(latent.x["cells"])}, latent.cond)
    back = made.inverse(empty, batch[:5].conditions(), seeded(0))
    torch.testing.assert_close(
        back.x.sum((-1, -2)), batch.x[:5].sum((-1, -2)), rtol=1e-4, atol=1e-2
    )
    often = (batch.x > 0).float().mean(0)
    most = often == often.amax((-1, -2), keepdim=True)  # also of cells that are always hit
    assert torch.equal(back.x > 0, most & (batch.x[:5].sum((-1, -2), keepdim=True) > 0))


def test_the_density_of_levels_is_one_of_energies() -> None:
    """Levels that are all alike likely have a density that integrates to one over the energies of a cell."""
    made = ImageLevels(IMAGE, IMAGE.conditions, levels=16)
    made.fit([images(300)])
    energy = torch.linspace(1e-3, float(made.largest) * 0.999, 20001, dtype=torch.float64)
    x = torch.zeros(len(energy), 1, 5, 4)
    x[:, 0, 2, 1] = energy.float()
    batch = Batch(x, {"kind": torch.zeros(len(x), 1)})
    logs = -math.log(15) + made.log_slope(made.eval()(batch)) + made.log_det(batch)
    total = torch.trapezoid(logs.double().exp(), energy)
    assert float(total) == pytest.approx(1, abs=0.02)


def test_images_come_back_within_a_level_and_empty_pixels_exactly() -> None:
    batch, made = images(300), ImageLevels(IMAGE, IMAGE.conditions, levels=128)
    made.fit([batch])
    latent = made.eval()(batch)
    back = made.inverse(latent, batch.conditions(), seeded(0))
    assert torch.equal(back.x > 0, batch.x > 0)
    hit = batch.x > 0
    assert float((back.x[hit] / batch.x[hit]).log().abs().max()) < 6.2 / 127
    assert float(back.x[hit].min()) >= IMAGE.threshold


def test_a_pixel_beyond_the_last_level_gets_it_and_many_are_refused() -> None:
    batch, made = images(300), ImageLevels(IMAGE, IMAGE.conditions, levels=16)
    made.fit([batch])
    assert float(made.largest) == pytest.approx(1.1 * float(batch.x.max()))
    batch.x[0, 0, 0, 0] = 100.0
    assert float(made(batch).x["image"][0, 0]) == 15
    batch.x[0, 0, 1] = 100.0
    with pytest.raises(UserError, match="5 of 6000 pixels lie beyond the last level"):
        made(batch)


def test_a_margin_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="margin"):
        ImageLevels(IMAGE, IMAGE.conditions, levels=16, margin=1.0)
