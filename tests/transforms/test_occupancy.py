"""Calibration of the number of points by the number of readout cells that they hit."""

from __future__ import annotations

from dataclasses import replace

import torch

from simulacra.core import Batch, Spec
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.physics.ild_cloud import ILDCloudObservables
from simulacra.transforms.occupancy import OccupancyCalibration

POINTS = 800
COLUMNS = (0, 2, 1, 3)


def spec() -> Spec:
    return ild_cloud().with_(shape=(POINTS, 4))


def showers(number: torch.Tensor, cells: int, seed: int) -> Batch:
    """Showers of so many points each, evenly over ``cells`` cells of one row of the detector's layers."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.randint(cells, (len(number), POINTS), generator=draw)
    x = torch.stack(
        [
            -75.0 + 5.088333 * (place // 30),
            (place % 30).float(),
            torch.full_like(place, 40.0, dtype=torch.float32),
            torch.full_like(place, 1e-3, dtype=torch.float32),
        ],
        -1,
    )
    mask = torch.arange(POINTS) < number[:, None]
    cond = {"incident_energy": number[:, None] / 8.0}
    return Batch(torch.where(mask[..., None], x, 0.0), cond, {}, mask)


def calibration(events: int = 300) -> OccupancyCalibration:
    return OccupancyCalibration(spec(), ["incident_energy"], COLUMNS, events)


NUMBERS = torch.linspace(100, 700, 300).round()


def test_hits_are_the_cells_that_the_judge_counts() -> None:
    events = showers(NUMBERS[::10], 400, 0)
    noise = 40 * torch.randn(events.x.shape[:2], generator=torch.Generator().manual_seed(1))
    energies = 4e-4 * torch.rand(noise.shape, generator=torch.Generator().manual_seed(2))
    x = torch.stack([noise, events.x[..., 1], 40 + noise.flip(1), energies], -1)
    assert events.mask is not None
    events = Batch(torch.where(events.mask[..., None], x, 0.0), events.cond, {}, events.mask)
    judge = ILDCloudObservables(spec(), 5.088333, (-75.912, -37.0), (0.0, 40.0), [0, 29], [0, 300])
    points, hits = calibration().counts(events)
    assert torch.equal(points, events.mask.sum(1))
    assert torch.equal(hits.double(), judge(events)["n_hit"])
    assert 0 < int(hits.sum()) < int(points.sum())  # the cut counts


def test_calibrated_numbers_of_points_give_the_true_numbers_of_hits() -> None:
    true, spread = showers(NUMBERS, 300, 0), showers(NUMBERS, 900, 1)
    calibrated = calibration()
    assert torch.equal(calibrated(NUMBERS), NUMBERS)
    calibrated.fit_true([true[:200], true[200:]])
    assert torch.equal(calibrated(NUMBERS), NUMBERS)
    assert torch.equal(
        calibrated.conditions().values["incident_energy"], true.cond["incident_energy"]
    )
    calibrated.fit_generated(spread)
    wanted = calibrated.counts(true)[1].double()
    again = calibrated.counts(showers(calibrated(NUMBERS).round(), 900, 2))[1].double()
    before = calibrated.counts(spread)[1].double()
    assert (again / wanted - 1).mean().abs() < 0.02
    assert (again / wanted - 1)[NUMBERS > 200].abs().mean() < 0.05
    assert (before / wanted - 1).mean() > 0.3
    calibrated.forget()
    assert torch.equal(calibrated(NUMBERS), NUMBERS)


def test_beyond_the_fitted_range_numbers_go_on_rising() -> None:
    calibrated = calibration()
    calibrated.fit_true([showers(NUMBERS, 300, 0)])
    calibrated.fit_generated(showers(NUMBERS, 900, 1))
    number = torch.tensor([0.0, 10.0, 50.0, 100.0, 400.0, 700.0, 1000.0, 5000.0])
    made = calibrated(number)
    assert made[0] == 0
    assert bool((made.diff() > 0).all())
    assert bool((made[1:] < 1.1 * number[1:]).all())
    other = calibration()
    other.load_state_dict(calibrated.state_dict())
    assert torch.equal(other(number), made)


def test_hits_that_cannot_be_reached_do_not_fill_the_cloud_with_points() -> None:
    calibrated = calibration()
    calibrated.fit_true([showers(NUMBERS, 300, 0)])
    calibrated.fit_generated(showers(NUMBERS, 10, 1))  # all points in ten cells
    assert torch.allclose(calibrated(NUMBERS), 4 * NUMBERS)


def test_weighted_showers_count_as_repeated_ones() -> None:
    true, made = showers(NUMBERS[::6], 300, 0), showers(NUMBERS[::6], 900, 1)
    counts = torch.arange(len(true)) % 4  # those without weight would bend the curve
    cells = torch.where(counts[:, None] == 0, 0.25, 1.0)
    true, made = (
        replace(x, x=x.x * torch.cat([torch.ones_like(cells), cells, cells, cells], 1)[:, None])
        for x in (true, made)
    )
    one, other = calibration(len(true)), calibration(int(counts.sum()))
    index = torch.repeat_interleave(torch.arange(len(true)), counts)
    one.fit_true([replace(true, weight=counts.float())])
    assert one.weights is not None
    one.fit_generated(replace(made, weight=one.weights))
    other.fit_true([true[index]])
    other.fit_generated(made[index])
    torch.testing.assert_close(one(NUMBERS), other(NUMBERS), rtol=1e-4, atol=1e-3)
    plain = calibration(len(true))
    plain.fit_true([true])
    plain.fit_generated(made)
    assert plain.weights is None
    assert float((plain(NUMBERS) / one(NUMBERS) - 1).abs().max()) > 0.02


def test_without_cells_or_events_nothing_is_calibrated() -> None:
    bare = OccupancyCalibration(spec().with_(geometry=None), ["incident_energy"], COLUMNS, 300)
    for calibrated in (bare, calibration(0)):
        assert calibrated.events == 0
        calibrated.fit_true([showers(NUMBERS, 300, 0)])
        assert torch.equal(calibrated(NUMBERS), NUMBERS)


def test_a_first_round_of_few_events_leads_to_the_same_numbers_of_hits() -> None:
    true, chosen = showers(NUMBERS, 300, 0), torch.linspace(150, 700, 200).round()
    wanted = calibration().counts(showers(chosen, 300, 9))[1].double().mean()
    means = []
    for rounds in (OccupancyCalibration.rounds, (1.0, 1.0)):
        calibrated = calibration()
        calibrated.fit_true([true])
        for number, share in enumerate(rounds, start=1):
            few = NUMBERS[torch.randperm(300, generator=torch.Generator().manual_seed(number))]
            few = few[: int(share * len(few))]
            calibrated.fit_generated(showers(calibrated(few).round(), 900, number))
        made = calibrated.counts(showers(calibrated(chosen).round(), 900, 8))[1].double().mean()
        means.append(float(made / wanted - 1))
    assert max(map(abs, means)) < 0.01
    assert abs(means[0] - means[1]) < 0.005
