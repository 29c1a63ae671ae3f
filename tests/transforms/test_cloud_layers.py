from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_toys import ENERGY, by_layer, events, spec
from simulacra.core import Field, Latent, UserError
from simulacra.transforms.cloud import CloudStandardise, MakePoints
from simulacra.transforms.cloud_layers import (
    LayeredCloudTransform,
    depth_column,
    drawn,
    whole_shares,
)
from simulacra.transforms.cloud_moments import moments
from simulacra.transforms.cloud_quantiles import CloudQuantiles

MAPS: list[MakePoints] = [CloudStandardise, partial(CloudQuantiles, values=16)]
maps = pytest.mark.parametrize("points", MAPS, ids=["standardise", "quantiles"])


def made(
    layers: int = 5, subset: int | None = None, points: MakePoints = CloudStandardise
) -> LayeredCloudTransform:
    transform = LayeredCloudTransform(spec(), ("incident_energy",), layers, points, subset=subset)
    transform.fit([events(seed=seed) for seed in range(3)])
    return transform.eval()


def random_latent(transform: LayeredCloudTransform, n: int = 64, width: float = 1.5) -> Latent:
    """What an untrained model would generate."""
    g = torch.Generator().manual_seed(7)
    event = width * torch.randn(n, transform.width, generator=g)
    cond = events(n).conditions()
    mask = transform.mask(event, cond)
    points = torch.randn(n, 24, 4, generator=g) * mask[..., None]
    return Latent({"event": event, "points": points}, transform.condition(cond), mask)


def test_depth_column_is_the_layer_or_the_depth() -> None:
    assert depth_column(spec("layer").features) == 1
    assert depth_column(spec("depth").features) == 1
    assert depth_column((Field("eta"), Field("pt"))) is None
    with pytest.raises(UserError, match="no feature 'layer' or 'depth'"):
        LayeredCloudTransform(spec("phi"), ("incident_energy",), 5)


def test_numbers_are_count_fields_energy_centres_shares_and_means() -> None:
    transform, batch = made(), events()
    latent = transform(batch)
    columns = transform.numbers(latent.x["event"], batch.conditions())
    assert batch.mask is not None
    number = batch.mask.sum(1)
    total = moments(batch.x[..., [0, 2, 3]], 2, 2)
    assert transform.width == 1 + 1 + 1 + 2 + 5 + 5
    assert torch.equal(columns[:, 0].floor().long(), number)
    assert torch.allclose(columns[:, 1:2], batch.event["leak"], rtol=1e-4)
    assert torch.allclose(columns[:, 2], total[:, 0], rtol=1e-4, atol=1e-5)
    assert torch.allclose(columns[:, 3:5], total[:, 1:3], rtol=1e-3, atol=1e-3)
    count, energy = by_layer(batch)
    found_count, found_energy = transform.layer_numbers(columns, number)
    assert torch.equal(found_count, count)
    assert torch.allclose(found_energy, energy, rtol=1e-3, atol=1e-6)


@maps
def test_round_trip_restores_layers_energies_and_centres(points: MakePoints) -> None:
    transform, batch = made(points=points), events()
    back = transform.inverse(transform(batch), batch.conditions())
    assert batch.mask is not None
    assert torch.equal(back.mask, batch.mask)
    assert bool((back.x[~batch.mask] == 0).all())
    real = batch.mask
    assert torch.equal(back.x[real][:, 1], batch.x[real][:, 1])
    assert torch.allclose(back.x[real][:, 3], batch.x[real][:, 3], rtol=2e-3)
    assert torch.allclose(back.x[real], batch.x[real], rtol=1e-3, atol=2e-3)
    assert torch.allclose(back.event["leak"], batch.event["leak"], rtol=1e-4)


@maps
def test_whatever_is_generated_has_exactly_the_numbers_of_the_event(points: MakePoints) -> None:
    transform = made(points=points)
    latent = random_latent(transform)
    batch = transform.inverse(latent, events(64).conditions())
    columns = transform.numbers(latent.x["event"], events(64).conditions())
    assert latent.mask is not None
    number = latent.mask.sum(1)
    count, energy = transform.layer_numbers(columns, number)
    assert torch.equal(count.sum(1), number)
    found_count, found_energy = by_layer(batch)
    assert torch.equal(found_count, count)
    assert torch.allclose(found_energy, energy, rtol=1e-5)
    assert bool((found_energy[count == 0] == 0).all())
    some = (number > 0) & (columns[:, 2] > 0)
    total = moments(batch.x[..., [0, 2, 3]], 2, 2)[some]
    assert torch.allclose(total[:, 0], columns[some, 2], rtol=1e-5)
    assert torch.allclose(total[:, 1:3], columns[some, 3:5], rtol=1e-4, atol=2e-4)
    assert bool((batch.x[..., 3] >= 0).all())


def test_quantiles_make_every_feature_a_standard_normal() -> None:
    levels = torch.tensor([0.1, 0.5, 0.9])
    far = {}
    for points in MAPS:
        transform = made(points=points).train()
        latent = transform(events(), torch.Generator().manual_seed(0))
        assert latent.mask is not None
        found = latent.x["points"][latent.mask].quantile(levels, dim=0)
        far[points] = (found - torch.special.ndtri(levels)[:, None]).abs().max()
    assert far[MAPS[1]] < 0.1 < 0.2 < far[MAPS[0]]


def test_points_are_dealt_out_in_the_order_of_their_depth() -> None:
    transform = made()
    latent = random_latent(transform)
    batch = transform.inverse(latent, events(64).conditions())
    assert latent.mask is not None
    for cloud, points, mask in zip(batch.x, latent.x["points"], latent.mask, strict=True):
        order = points[mask][:, 1].argsort()
        assert bool((cloud[mask][order, 1].diff() >= 0).all())


def test_empty_and_full_clouds_are_generated() -> None:
    transform = made()
    latent = random_latent(transform)
    for mask in (torch.zeros(64, 24, dtype=torch.bool), torch.ones(64, 24, dtype=torch.bool)):
        points = latent.x["points"] * mask[..., None]
        same = Latent({**latent.x, "points": points}, latent.cond, mask)
        batch = transform.inverse(same, events(64).conditions())
        count, energy = by_layer(batch)
        assert torch.equal(count.sum(1), mask.sum(1))
        assert bool(batch.x.isfinite().all())
        assert bool((energy[count == 0] == 0).all())


def test_energies_that_vanish_are_shared_out_evenly() -> None:
    transform = made()
    latent = random_latent(transform)
    points = latent.x["points"].clone()
    points[..., 3] = -1e6  # the logarithm of no number
    batch = transform.inverse(
        Latent({**latent.x, "points": points}, latent.cond, latent.mask), events(64).conditions()
    )
    columns = transform.numbers(latent.x["event"], events(64).conditions())
    assert latent.mask is not None
    _, energy = transform.layer_numbers(columns, latent.mask.sum(1))
    assert torch.allclose(by_layer(batch)[1], energy, rtol=1e-5)


def test_training_spreads_counts_and_keeps_empty_layers_empty() -> None:
    transform, batch = made().train(), events()
    noisy, plain = transform(batch, torch.Generator().manual_seed(1)), made()(batch)
    assert batch.mask is not None
    number = batch.mask.sum(1)
    columns = transform.numbers(noisy.x["event"], batch.conditions())
    share = columns[:, transform.first :][:, :5] * number[:, None].clamp_min(1)
    assert torch.equal((share + 1e-4).floor().long()[number > 0], by_layer(batch)[0][number > 0])
    assert not torch.equal(noisy.x["event"], plain.x["event"])
    assert bool(noisy.x["event"].isfinite().all())
    empty = noisy.x["event"][:, -1][by_layer(batch)[0][:, -1] == 0]
    assert float(empty.std()) == pytest.approx(1, abs=0.2)


def test_layers_that_the_data_lack_are_noise_and_get_no_points() -> None:
    transform = made(layers=8)
    assert transform.depths.isfinite().sum() == 5
    latent = random_latent(transform, width=3.0)
    batch = transform.inverse(latent, events(64).conditions())
    assert torch.equal(by_layer(batch)[0].sum(1), batch.mask.sum(1))  # type: ignore[union-attr]


def test_more_layers_than_the_transform_holds_are_refused_in_one_sentence() -> None:
    transform = LayeredCloudTransform(spec(), ("incident_energy",), 4)
    with pytest.raises(UserError, match="lie in 5 layers, the transform holds 1 to 4"):
        transform.fit([events()])


def test_a_training_step_sees_as_many_points_as_asked_for() -> None:
    transform = made(subset=9).train()
    latent = transform(events(), torch.Generator().manual_seed(1))
    assert latent.x["points"].shape == (200, 9, 4)
    assert latent.mask is not None
    assert torch.equal(latent.mask.all(1), latent.mask.any(1))
    assert int((~latent.mask.any(1)).sum()) == 1  # the shower without points
    transform.eval()
    assert transform(events()).x["points"].shape == (200, 24, 4)


def test_drawn_points_are_real_and_all_of_them_come_up() -> None:
    batch = events(8)
    assert batch.mask is not None
    x, mask = drawn(batch.x, batch.mask, 500, torch.Generator().manual_seed(0))
    for k in range(8):
        known = {tuple(point) for point in batch.x[k][batch.mask[k]].tolist()}
        assert {tuple(point) for point in x[k][mask[k]].tolist()} == known


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.integers(0, 6000),
)
def test_whole_shares_add_up_and_are_off_by_less_than_one(share: list[float], total: int) -> None:
    values = torch.tensor([share], dtype=torch.float64)
    if float(values.sum()) < 1e-200:
        return
    count = whole_shares(values, torch.tensor([total]))
    assert int(count.sum()) == total
    assert bool((count >= 0).all())
    exact = values / values.sum() * total
    assert float((count - exact).abs().max()) < 1 + 1e-6
    assert math.isfinite(float(count.sum()))
    assert bool((count[values == 0] == 0).all())


def test_counts_and_energies_are_told_per_incident_energy_where_there_is_one() -> None:
    other = spec().with_(conditions=(replace(ENERGY, role=None),))
    plain = LayeredCloudTransform(other, ("incident_energy",), 5)
    plain.fit([events(seed=seed) for seed in range(3)])
    batch, transform = events(), made()
    one, other = (t.eval()(batch).x["event"] for t in (plain, transform))
    assert torch.allclose(one[:, transform.first :], other[:, transform.first :], atol=1e-5)
    assert not torch.allclose(one[:, 0], other[:, 0], atol=0.5)
    found = [t.numbers(t(batch).x["event"], batch.conditions())[:, :3] for t in (plain, transform)]
    assert torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-4)
