"""What is reconstructed of showers: fits, places, two that are near, and what is learned from others."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from simulacra.core import Batch, UserError
from simulacra.core.cells import CellFinder
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.formats.calochallenge import ds2
from simulacra.metrics import Evaluator
from simulacra.metrics.engine.score import Figure, Judged, NotRun, judged
from simulacra.metrics.protocols.reconstruction import Frame, Reconstruction
from simulacra.metrics.protocols.reconstruction_energy import fit
from simulacra.metrics.protocols.reconstruction_place import placed
from simulacra.metrics.protocols.reconstruction_separation import (
    Pairs,
    Readout,
    draw_pairs,
    found_two,
    separation,
)
from simulacra.metrics.protocols.reconstruction_transfer import Learner
from simulacra.physics.calochallenge import CaloChallengeObservables
from simulacra.physics.deposits import Deposits
from simulacra.physics.ild import ILDObservables
from simulacra.physics.ild_cloud import ILDCloudObservables
from simulacra.plotting import figures
from toy_showers import TOY, toy

SHOWERS = 900
EDGES, ONES = torch.tensor([0.2, 20.0]).double(), torch.ones(3, SHOWERS).double()
SCORE = Reconstruction(
    pitch=1.0, fainter=(0.5, 4.0), ratios=[1, 4], distances=[0.5, 1, 2, 3, 4, 6], pairs=100
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def observables() -> ILDObservables:
    return ILDObservables(TOY, radial_bins=3)


@cache
def batch(seed: int) -> Batch:
    return toy(SHOWERS, seed)


@cache
def truth() -> Judged:
    return judged(batch(1), observables())


@cache
def scored(name: str) -> dict[str, Figure]:
    other = batch(2)
    factor = 1 + 0.04 * torch.randn(SHOWERS, generator=generator(3))
    changed = {
        "half": other,
        "smeared": replace(other, x=other.x * factor[:, None, None, None]),
        "moved": replace(other, x=other.x.roll(1, 2)),
    }
    return SCORE(truth(), judged(changed[name], observables()), 0)


def sigma(figures: dict[str, Figure], name: str) -> float:
    return figures[f"reconstruction/{name}"].details["sigma"]


def toy_response(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Response 0.9 that rises by 1 % per e-fold from 10 GeV, resolution 15 %/sqrt(E) and 1 %."""
    draws = generator(seed)
    energy = 50 ** torch.rand(n, generator=draws, dtype=torch.float64)
    width = (0.15**2 / energy + 0.01**2).sqrt()
    mean = 0.9 * (1 + 0.01 * (energy / 10).log())
    return energy, mean * (1 + width * torch.randn(n, generator=draws, dtype=torch.float64))


def test_a_fit_finds_response_linearity_and_resolution_of_gaussian_showers() -> None:
    energy, ratio = toy_response(20_000, 0)
    weights = torch.poisson(torch.ones(21, len(energy), dtype=torch.float64), generator(1))
    weights[0] = 1
    found = fit(energy, ratio, weights, 10.0).estimates()
    known = {"response": 0.9, "linearity": 0.01, "stochastic": 0.15, "constant": 0.01}
    known["resolution"] = math.sqrt(0.15**2 / 10 + 0.01**2)
    for name, value in known.items():
        assert abs(found[name].value - value) < 4 * found[name].error, name
        assert 0 < found[name].error < 0.2 * value, name
    assert found["tails"].value < 1e-3


def test_showers_far_off_are_left_out_of_a_fit_and_counted() -> None:
    energy, ratio = toy_response(2000, 0)
    ratio[:20] = 0.0
    found = fit(energy, ratio, torch.ones(3, 2000, dtype=torch.float64), 10.0).estimates()
    assert found["tails"].value == pytest.approx(0.01, abs=2e-3)
    assert found["stochastic"].value == pytest.approx(0.15, rel=0.05)


def test_a_fit_weighs_a_shower_twice_as_if_it_were_two() -> None:
    energy, ratio = toy_response(400, 0)
    double = energy > 7
    index = torch.arange(400).repeat_interleave(1 + double.long())
    weighted = fit(energy, ratio, (1.0 + double.double()).expand(2, -1), 10.0)
    repeated = fit(energy[index], ratio[index], torch.ones(2, len(index)).double(), 10.0)
    assert torch.allclose(weighted.squares, repeated.squares, rtol=1e-9)
    assert torch.allclose(weighted.response, repeated.response, rtol=1e-9)


def line(direction: tuple[float, float, float], events: int = 1) -> Deposits:
    """Showers that are five equal deposits on a line through (1, 2), 10 mm from layer to layer."""
    layer = torch.arange(5).repeat(events)
    depth = 10.0 * layer.double()
    slope = torch.tensor(direction[:2], dtype=torch.float64) / direction[2]
    place = torch.tensor([1.0, 2.0], dtype=torch.float64) + (depth[:, None] - 20) * slope
    event = torch.arange(events).repeat_interleave(5)
    depths = 10.0 * torch.arange(5).double()
    return Deposits(
        event, layer, place, torch.ones(5 * events).double(), depths, ("x", "y"), events
    )


def test_place_and_direction_of_a_line_are_its_own() -> None:
    found = placed(line((0.1, -0.2, 1.0)))[0]
    expected = [1.0, 2.0, 1e3 * math.atan(0.1), -1e3 * math.atan(0.2)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_shower_without_energy_has_no_place_and_a_single_point_no_direction() -> None:
    two = line((0.1, 0.0, 1.0), 2)
    kept = (two.event == 0) & (two.layer == 2)
    one = replace(
        two, event=two.event[kept], layer=two.layer[kept], place=two.place[kept],
        energy=two.energy[kept], events=2,
    )  # fmt: skip
    found = placed(one)
    assert found[0, :2].tolist() == pytest.approx([1.0, 2.0])
    assert bool(found[0, 2:].isnan().all())
    assert bool(found[1].isnan().all())


def test_logarithmic_weights_are_those_of_the_formula() -> None:
    deposits = replace(
        line((1.0, 0.0, 1.0)), energy=torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1]).double()
    )
    deposits.energy[0] = 0.01
    share = deposits.energy / deposits.energy.sum()
    weight = (2.5 + share.log()).clamp(min=0)
    assert float(weight[0]) == 0
    expected = float((weight * deposits.place[:, 0]).sum() / weight.sum())
    assert float(placed(deposits, 2.5)[0, 0]) == pytest.approx(expected)


def test_points_of_a_perfect_sampler_lie_in_the_cells_of_the_showers() -> None:
    spec = ds2()
    look = CaloChallengeObservables(spec, 30, 30, 42, 20)
    x = torch.rand(3, *spec.shape, generator=generator()) < 0.05
    events = Batch(x.float() * 7, {"incident_energy": torch.full((3, 1), 1e4)})
    plain, ideal = look.deposits(events), look.idealised(events, generator())
    find = CellFinder(spec.geometry)
    cells = [find(*item.place.T.contiguous(), plain.depths[item.layer]) for item in (plain, ideal)]
    assert bool((cells[0] == cells[1]).all())
    assert not torch.allclose(plain.place, ideal.place)
    assert bool((plain.energy == ideal.energy).all())
    assert float(plain.sums(plain.energy)[1]) == pytest.approx(float(events.x[1].sum()))


def test_a_perfect_grid_has_the_points_of_a_cloud_in_the_middle_of_their_cells() -> None:
    spec = ild_cloud()
    look = ILDCloudObservables(spec, 5.0, [0.0, 0.0], [0.0, 0.0], [0, 29], [0, 100])
    x = torch.zeros(2, *spec.shape)
    x[0, :3] = torch.tensor([[1.0, 4, 2.0, 0.5], [4.0, 4, 3.0, 0.25], [6.0, 4, 2.0, 0.125]])
    x[1, 0] = torch.tensor([-1.0, 9, -1.0, 1.0])
    events = Batch(x, {"incident_energy": torch.full((2, 1), 20.0)}, mask=x[..., -1] > 0)
    plain, ideal = look.deposits(events), look.idealised(events, generator())
    assert len(plain.energy) == 4
    assert ideal.energy.tolist() == [0.75, 0.125, 1.0]
    assert ideal.place.tolist() == [[2.5, 2.5], [7.5, 2.5], [-2.5, -2.5]]
    assert ideal.layer.tolist() == [4, 4, 9]
    assert plain.axes == ("x", "z")


def test_pairs_have_the_energies_that_were_asked_for_and_follow_the_weights() -> None:
    energy = 100 ** torch.rand(2000, generator=generator(), dtype=torch.float64)
    weight = torch.ones(2000).double()
    weight[::2] = 0
    found = draw_pairs(energy, weight, 4.0, (5.0, 15.0), 300, generator(1))
    assert 250 < len(found) <= 300
    ratio = energy[found.first] / energy[found.second]
    assert bool(((ratio > 4 / 1.16) & (ratio < 4 * 1.16)).all())
    assert 5 <= float(energy[found.second].min()) <= float(energy[found.second].max()) <= 15
    assert bool((np.concatenate([found.first, found.second]) % 2 == 1).all())


def test_two_thin_showers_are_told_apart_from_two_cells_on_and_never_at_no_distance() -> None:
    deposits = line((0.0, 0.0, 1.0), 40)
    pairs = Pairs(np.arange(20), np.arange(20, 40), 1.0)
    readout = Readout(1.0, 0.0, torch.tensor([1.0, 2.0]).double())
    found = found_two(deposits, pairs, [0.0, 3.5, 10.0], readout, generator())
    assert not found[:, 0].any()
    assert found[:, 1:].all()
    nothing = found_two(deposits, pairs, [3.5, 10.0], replace(readout, cut=2.0), generator())
    assert not nothing.any()


def test_a_shower_that_holds_too_little_is_not_found() -> None:
    deposits = line((0.0, 0.0, 1.0), 2)
    deposits.energy[deposits.event == 1] = 0.1
    readout = Readout(1.0, 0.0, torch.tensor([1.0, 2.0]).double())
    for ratio, expected in ((1.0, False), (4.0, True)):
        pairs = Pairs(np.zeros(1, dtype=int), np.ones(1, dtype=int), ratio)
        assert found_two(deposits, pairs, [8.0], readout, generator()).item() is expected


def test_separation_lies_between_two_distances_and_knows_its_error() -> None:
    found = np.zeros((100, 3), dtype=bool)
    found[:25, 1], found[:, 2] = True, True
    apart = Pairs(np.arange(100), np.arange(100, 200), 1.0)
    seen = separation(found, apart, [10.0, 20.0, 30.0], 5.0)
    assert seen.half.value == pytest.approx(20 + 10 / 3)
    binomial = math.sqrt(0.25 * 0.75 / 100)
    assert seen.curve.error[1] == pytest.approx(binomial)
    assert seen.half.error == pytest.approx(10 / 0.75 * (1 - 1 / 3) * binomial)
    assert seen.far.value == pytest.approx(0.625)
    same = Pairs(np.arange(100), np.arange(100) // 25 + 100, 1.0)  # 25 pairs share a shower
    assert separation(found, same, [10.0, 20.0, 30.0], 5.0).half.error > 4 * seen.half.error
    assert math.isnan(separation(found[:, :2], apart, [10.0, 20.0], 5.0).half.value)


def test_learned_weights_reconstruct_what_is_linear_and_fail_on_other_showers() -> None:
    draws = generator()
    shares = torch.rand(600, 5, generator=draws).double() + 0.5
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0]).double()
    shares /= (shares @ weight)[:, None]
    ones = torch.ones(2, 600).double()
    good, bad = (
        Learner(shares, ones, draws),
        Learner(shares * torch.tensor([1, 1, 1, 1, 1.2]), ones, draws),
    )
    mean, width = good.applied(good)
    assert float(mean[0]) == pytest.approx(1, abs=1e-3)
    assert float(width[0]) < 0.01
    assert float(bad.applied(good)[0][0]) > 1.03
    assert float(bad.applied(bad)[0][0]) == pytest.approx(1, abs=1e-3)


def test_a_shower_of_weight_two_is_learned_from_as_if_it_were_two() -> None:
    shares = torch.rand(300, 4, generator=generator()).double()
    weight = 1.0 + torch.arange(300).remainder(2).double()
    index = torch.arange(300).repeat_interleave(weight.long())
    weighted = Learner(shares, weight[None], generator())
    repeated = Learner(shares[index], torch.ones(1, len(index)).double(), generator())
    found = [item._learned(torch.arange(len(item.shares))) for item in (weighted, repeated)]
    assert torch.allclose(found[0], found[1], rtol=1e-9)
    alike = Learner(shares, torch.ones(1, 300).double(), generator())
    assert not torch.allclose(found[0], alike._learned(torch.arange(300)), rtol=1e-3)


def test_a_second_half_of_the_truth_is_reconstructed_like_the_first() -> None:
    found = scored("half")
    pulls = [f.details["sigma"] for k, f in found.items() if "sigma" in f.details]
    assert len(pulls) >= 16
    assert max(map(abs, pulls)) < 4
    assert found["reconstruction/sigma"].value == pytest.approx(
        math.sqrt(sum(pull**2 for pull in pulls) / len(pulls))
    )


def test_smeared_energies_show_in_the_resolution_and_leave_the_separation_alone() -> None:
    found = scored("smeared")
    assert sigma(found, "constant") > 5
    assert sigma(found, "resolution") > 3
    for name in ("separation/1to1", "separation/4to1", "position_x", "direction_y"):
        assert abs(sigma(found, name)) < 3, name


def test_showers_that_are_moved_are_off_by_one_cell_along_one_axis() -> None:
    figure = scored("moved")["reconstruction/offset_x"]
    assert figure.details["generated"] - figure.details["truth"] == pytest.approx(1, abs=0.3)
    assert sigma(scored("moved"), "offset_x") > 5
    assert abs(sigma(scored("moved"), "offset_y")) < 3


def test_the_ideal_sampler_stands_beside_places_directions_and_separations() -> None:
    for name, figure in scored("half").items():
        kind = re.split("[/_]", name)[1]
        asked = kind in ("position", "offset", "direction", "separation", "efficiency")
        assert ("ideal" in figure.details) is asked, name


def test_the_report_has_the_curves_and_every_figure_floor_and_error() -> None:
    judge = Evaluator(
        truth(), observables(), scores={"reconstruction": SCORE}, replicas=2, truth=batch(4)
    )
    result = judge(batch(2))
    names = {"response", "resolution", "position_x", "direction_y", "separation/1to1"}
    assert names <= result.curves["reconstruction"].keys()
    for name in ("constant", "separation/1to1", "transfer/forward/resolution", "sigma"):
        for twin in ("", "/error", "/floor"):
            assert math.isfinite(result.metrics[f"test/reconstruction/{name}{twin}"])
    alone = replace(result, histograms={}, profiles={}, images={}, response=(), correlation=None)
    assert list(figures(alone)) == ["reconstruction"]


def test_layers_behind_more_absorber_may_count_more() -> None:
    plain, double = (
        replace(SCORE, sampling=sampling)._energy(truth(), Frame(2.0, EDGES), ONES)[0]["response"]
        for sampling in ([1.0] * 8, [2.0] * 8)
    )
    assert double.value == pytest.approx(2 * plain.value)
    assert plain.value == pytest.approx(
        scored("half")["reconstruction/response"].details["truth"], 0.02
    )
    with pytest.raises(UserError, match="a weight for each of 8 layers, got 2"):
        replace(SCORE, sampling=[1, 2])._energy(truth(), Frame(2.0, EDGES), ONES)


def test_what_cannot_be_reconstructed_is_said() -> None:
    with pytest.raises(UserError, match=r"rise from 0 or more, got \[5, 5\]"):
        Reconstruction(5.0, (5, 20), [1], [5, 5])
    few = judged(batch(1)[:50], observables())
    with pytest.raises(NotRun, match="needs 100 showers"):
        SCORE(few, few, 0)
    alike = batch(1)
    alike = judged(
        replace(alike, cond={"incident_energy": torch.full((SHOWERS, 1), 1e3)}), observables()
    )
    with pytest.raises(NotRun, match="whose energies differ"):
        SCORE(alike, alike, 0)


def test_empty_showers_are_counted_and_have_no_place() -> None:
    x = batch(2).x.clone()
    x[:3] = 0
    found = SCORE(truth(), judged(replace(batch(2), x=x), observables()), 0)
    assert "3 generated showers without energy have no place" in str(
        found["reconstruction/sigma"].note
    )
    assert all(math.isfinite(figure.value) for figure in found.values())


def test_a_generator_of_nothing_is_found_out_and_has_no_other_numbers() -> None:
    nothing = judged(replace(batch(2), x=torch.zeros_like(batch(2).x)), observables())
    found = SCORE(truth(), nothing, 0)
    known = {key for key, figure in found.items() if math.isfinite(figure.value)}
    lost = ("tails", "transfer/forward/response", "transfer/reverse/response")
    ends = ("efficiency/1to1", "efficiency/4to1", *lost, "sigma")
    assert known == {f"reconstruction/{name}" for name in ends}
    for name in lost:
        assert found[f"reconstruction/{name}"].value == pytest.approx(1, abs=0.01), name
    assert found["reconstruction/efficiency/1to1"].details["generated"] == 0
