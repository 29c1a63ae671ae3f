"""Chains of logits and logarithms from showers to a network's numbers and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from simulacra.core import Batch, Conditions, Field, Latent, UserError
from simulacra.transforms.layer_logs import LayerLogTransform
from simulacra.transforms.layer_shares import LayerShareTransform
from simulacra.transforms.layered import LayeredTransform
from simulacra.transforms.maps.cell_scaling import AllCells, EachCell
from simulacra.transforms.maps.layer_numbers import BoundedLogits, FilledLogits, LogRatios
from simulacra.transforms.maps.normal_scores import NormalScores
from simulacra.transforms.voxels import VoxelTransform
from simulacra.transforms.whole_showers import IncidentLogits, OffsetLogs, WholeShowerTransform
from toy_showers import TOY, distance, features, toy

OVERFLOW = Field("overflow", "MeV", dim=2)
HITS = partial(AllCells, hits=True)
SCORES = partial(NormalScores, knots=3, levels=12)


def shares(event: tuple[Field, ...] = (), **changes: object) -> VoxelTransform:
    spec = TOY.with_(event=event)
    settings = {"fractions": BoundedLogits(None, 1e-6, 1e-6), "scaling": HITS, "alpha": 1e-6}
    return LayerShareTransform(spec, spec.conditions, **{**settings, "cut": 1e-6, **changes})


def logs(event: tuple[Field, ...] = (), **changes: object) -> VoxelTransform:
    spec = TOY.with_(event=event)
    settings = {
        "fractions": LogRatios(1.0),
        "scaling": SCORES,
        "energy_scaling": SCORES,
        "logs": OffsetLogs(0.1),
    }
    return LayerLogTransform(spec, spec.conditions, **{**settings, **changes})


def logits(event: tuple[Field, ...] = (), **changes: object) -> VoxelTransform:
    spec = TOY.with_(event=event)
    settings = {"values": IncidentLogits(None, 1e-6), "scaling": partial(AllCells, hits=False)}
    return WholeShowerTransform(spec, spec.conditions, **{**settings, **changes})


CHAINS: dict[str, Callable[[], VoxelTransform]] = {
    "shares": shares,
    "noisy shares": lambda: shares(cut=2e-5, noise=2e-5),
    "filled": lambda: shares(fractions=FilledLogits(1.0)),
    "ratios": lambda: shares(fractions=LogRatios(1.0)),
    "each cell": lambda: shares(scaling=partial(EachCell, least=0.3)),
    "scores of shares": lambda: shares(scaling=SCORES),
    "layered logs": logs,
    "layered logs and events": lambda: logs(event=(OVERFLOW,)),
    "logits": logits,
    "scores of logs": lambda: logits(values=OffsetLogs(0.1), scaling=SCORES),
    "logs": lambda: logits(values=OffsetLogs(0.02)),
    "noisy logs": lambda: logits(values=OffsetLogs(0.5, noise=0.8)),
    "joined events": lambda: shares(event=(OVERFLOW,)),
    "events alone": lambda: logits(event=(OVERFLOW,)),
}


def showers(n: int = 400, seed: int = 0) -> Batch:
    batch = toy(n, seed)
    x = batch.x.clone()
    x[:10, 3] = 0  # a gap
    x[10:20, 1:] = 0  # all in the first layer
    x[20:24] = 0  # nothing at all
    x[24:30, 5] = 0
    x[24:30, 5, 2, 2] = 7.0  # a single cell: its share is 1
    overflow = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).exp() + 1.0
    overflow[::3] = 0
    return Batch(x, batch.cond, {"overflow": overflow})


@pytest.fixture(scope="module", params=list(CHAINS))
def fitted(request: pytest.FixtureRequest) -> VoxelTransform:
    transform, batch = CHAINS[request.param](), showers()
    transform.fit([batch[:250], batch[250:]])
    return transform


@pytest.mark.parametrize("train", [False, True])
def test_showers_round_trip_and_stay_as_they_are(fitted: VoxelTransform, train: bool):
    batch = showers(200, 1)
    before = batch.x.clone()
    fitted.train(train)
    latent = fitted(batch, torch.Generator().manual_seed(1) if train else None)
    assert torch.equal(batch.x, before), "the transform worked in place"
    assert all(torch.isfinite(value).all() for value in latent.x.values())
    back = fitted.inverse(latent, batch.conditions())
    fitted.spec.validate(back)
    assert torch.equal(back.x > 0, batch.x > 0)
    torch.testing.assert_close(back.x, batch.x, rtol=2e-3, atol=1e-4)
    for field in fitted.made:
        torch.testing.assert_close(
            back.event[field.name], batch.event[field.name], rtol=1e-4, atol=0
        )


def test_the_closure_lies_at_its_floor(fitted: VoxelTransform):
    batch = toy(1000, 2)
    batch = Batch(batch.x, batch.cond, {"overflow": torch.ones(1000, 2)})
    back = fitted.eval().inverse(fitted(batch), batch.conditions())
    assert distance(features(back), features(batch)) < 2e-3  # two samples: 0.04
    assert not fitted.exact  # so that every run logs it


def test_the_context_of_generated_energies_is_that_of_the_encoded(fitted: VoxelTransform):
    batch = showers(100, 1)
    latent = fitted.eval()(batch)
    context = fitted.context(latent.x["energies"], batch.conditions())
    assert latent.x["energies"].shape[1] == fitted.numbers
    width = fitted.layout.context - fitted.conditions.width
    if context is None:
        assert "layers" not in latent.x
        assert width == fitted.numbers == 0
    else:
        torch.testing.assert_close(context, latent.x["layers"], atol=2e-3, rtol=1e-3)
        assert context.shape[1] == width
    assert fitted.layout.given == fitted.layout.context - len(fitted.layout.layers)
    assert fitted.layout.geometry is TOY.geometry


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_any_latent_gives_a_valid_shower(fitted: VoxelTransform, scale: float):
    generator = torch.Generator().manual_seed(0)
    x = {
        "energies": 3 * torch.randn(64, fitted.numbers, generator=generator),
        "cells": scale * torch.randn(64, 200, generator=generator),
    }
    cond = Conditions(64, {"incident_energy": torch.full((64, 1), 5000.0)})
    back = fitted.inverse(Latent(x), cond)
    fitted.spec.validate(back)
    assert not ((back.x > 0) & (back.x < 1.0)).any()
    if isinstance(fitted, LayeredTransform):
        wanted, _ = fitted._physical(x["energies"], cond)
        sums = TOY.geometry.layer_sums(back.x.flatten(1))
        torch.testing.assert_close(sums, wanted, rtol=1e-4, atol=1e-3)


def test_what_is_not_a_number_stays_none(fitted: VoxelTransform):
    latent = fitted.eval()(showers(4, 1))
    spoiled = {**latent.x, "cells": latent.x["cells"].clone()}
    spoiled["cells"][2, 30] = torch.nan
    back = fitted.inverse(Latent(spoiled), showers(4, 1).conditions())
    assert back.x.flatten(1).isnan().any(1).tolist() == [False, False, True, False]


def test_statistics_repeat_and_say_nothing_of_a_batch(fitted: VoxelTransform):
    batch = showers(100, 1)
    whole, alone = fitted.eval()(batch), fitted(batch[7:8])
    assert torch.equal(whole.x["cells"][7:8], alone.x["cells"])


def test_cells_that_are_neither_empty_nor_saturated_are_standardised():
    transform, batch = shares(), showers()
    transform.fit([batch])
    cells = transform.eval()(batch).x["cells"]
    sums = TOY.geometry.spread(TOY.geometry.layer_sums(batch.x.flatten(1)))
    x = batch.x.flatten(1)
    hit = (x > 0) & (x < sums)
    assert abs(float(cells[hit].mean())) < 1e-3
    assert abs(float(cells[hit].std()) - 1) < 1e-3
    assert float(cells[x == 0].std()) < 1e-5  # one point, below all hits
    assert float(cells[x == 0].max()) < float(cells[hit].min()) - 0.5


def test_a_cell_that_is_hardly_ever_hit_does_not_lie_far_away():
    batch = showers()
    x = batch.x.clone()
    x[:, 0, 0, 0] = 0
    x[5, 0, 0, 0] = 2.0
    rare = Batch(x, batch.cond)
    transform = shares(scaling=partial(EachCell, least=1.0))
    transform.fit([rare])
    assert float(transform.cells.std[0]) == 1.0  # of itself it is 0.44
    assert transform.eval()(rare).x["cells"].abs().max() < 10
    assert float(transform.cells.std.max()) > 1


def test_noise_in_empty_cells_is_drawn_in_training_alone_and_leaves_hits():
    transform, batch = shares(cut=2e-5, noise=2e-5), showers()
    transform.fit([batch])
    quiet = transform.eval()(batch).x["cells"]
    noisy = transform(batch, torch.Generator().manual_seed(0)).x["cells"]
    hit = batch.x.flatten(1) > 0
    assert torch.equal(quiet[hit], noisy[hit])
    assert float(quiet[~hit].std()) < 1e-5
    assert float(noisy[~hit].std()) > 0.1
    with pytest.raises(UserError, match="does not end below the cut"):
        shares(cut=1e-6, noise=1e-5)


def test_energies_beyond_the_veto_are_found_and_scaled_down():
    for numbers in (BoundedLogits(3.0, 1e-6, 1e-6), FilledLogits(1.0), LogRatios(1.0)):
        transform, batch = shares(fractions=numbers, veto=0.9), showers()
        transform.fit([batch])
        energies = transform.eval()(batch).x["energies"]
        cond = batch.conditions()
        total = batch.x.sum((1, 2, 3)) / batch.cond["incident_energy"][:, 0]
        clear = (total - 0.9).abs() > 0.03  # empty layers that are filled count in the total
        assert torch.equal(transform.vetoed(energies, cond)[clear], total[clear] > 0.9)
        layers, _ = transform._physical(transform.limited(energies, cond), cond)
        found = layers.sum(1) / batch.cond["incident_energy"][:, 0]
        # a layer that falls below the floor is empty
        torch.testing.assert_close(found, total.clamp(max=0.9), rtol=1e-3, atol=3e-2)
    assert shares().vetoed(energies, cond) is None


def test_errors_of_ratios_do_not_pile_up_over_the_layers():
    """As those of fractions do, see :mod:`simulacra.transforms.maps.layer_numbers`."""
    generator = torch.Generator().manual_seed(0)
    depth = torch.arange(45.0)
    layers = 1e5 * torch.exp(-(depth - 10).abs() / 1.5).expand(2000, 45)
    incident, floor = layers.sum(1, keepdim=True), torch.tensor(1e-9)
    off = {}
    for numbers in (FilledLogits(1.0), LogRatios(1.0)):
        numbers.see(layers, incident)
        found = numbers(layers, incident, floor)
        noisy = found + 0.1 * torch.randn(found.shape, generator=generator)
        off[type(numbers)] = (numbers.inverse(noisy, incident, floor) / layers).log()[:, -1].std()
    assert numbers.reference == 10
    assert off[LogRatios] < 0.2
    assert off[FilledLogits] > 1.7 * off[LogRatios]


def test_whole_showers_beyond_the_veto_are_not_finite():
    transform, batch = logits(veto=0.9), showers()
    transform.fit([batch])
    back = transform.eval().inverse(transform(batch), batch.conditions())
    total = batch.x.sum((1, 2, 3)) / batch.cond["incident_energy"][:, 0]
    assert torch.equal(back.x.flatten(1).isnan().all(1), total > 0.9)


def test_totals_beyond_the_training_events_stand_for_the_largest():
    transform, batch = shares(), showers()
    transform.fit([batch])
    assert float(transform.fractions.largest) > 1
    more = Batch(3 * batch.x[50:], {"incident_energy": batch.cond["incident_energy"][50:]})
    back = transform.eval().inverse(transform(more), more.conditions())
    limit = transform.fractions.largest * more.cond["incident_energy"][:, 0]
    torch.testing.assert_close(back.x.sum((1, 2, 3)), limit, rtol=1e-3, atol=0)


def test_a_likelihood_is_refused_in_a_sentence(fitted: VoxelTransform):
    for call in (
        lambda: fitted.log_det(showers(2)),
        lambda: fitted.log_slope(Latent({"cells": torch.zeros(2, 200)})),
        fitted.log_scale,
    ):
        with pytest.raises(UserError, match="volume is not known"):
            call()
