"""Clouds told by their layers alone, and clouds whose points know their layers."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from cloud_toys import POSITIONS, by_layer, events, spec
from simulacra.core import Batch, Field, Latent, UserError
from simulacra.transforms.cloud import CloudStandardise, MakePoints
from simulacra.transforms.cloud_layerwise import LayerwiseCloudTransform
from simulacra.transforms.cloud_moments import moments
from simulacra.transforms.cloud_quantiles import CloudQuantiles
from simulacra.transforms.count_correction import CountCorrection
from simulacra.transforms.known_layers import KnownLayersTransform, rounded, thinned

MAPS: list[MakePoints] = [CloudStandardise, partial(CloudQuantiles, values=16)]
maps = pytest.mark.parametrize("points", MAPS, ids=["standardise", "quantiles"])
either = pytest.mark.parametrize("imposed", [False, True], ids=["as made", "imposed"])


def layerwise(layers: int = 5, points: MakePoints = CloudStandardise) -> LayerwiseCloudTransform:
    transform = LayerwiseCloudTransform(spec(), ("incident_energy",), layers, points)
    transform.fit([events(seed=seed) for seed in range(3)])
    return transform.eval()


def known(
    imposed: bool = True,
    points: MakePoints = CloudStandardise,
    subset: int | None = None,
    correction: int = 0,
) -> KnownLayersTransform:
    transform = KnownLayersTransform(
        spec(), ("incident_energy",), 6, points, imposed, subset, correction
    )
    transform.fit([events(seed=seed) for seed in range(3)])
    return transform.eval()


def noise(transform: LayerwiseCloudTransform, n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers and mask of events that an untrained model would draw."""
    event = 1.5 * torch.randn(n, transform.width, generator=torch.Generator().manual_seed(7))
    return event, transform.mask(event, events(n).conditions())


@maps
def test_showers_told_by_their_layers_come_back(points: MakePoints) -> None:
    transform, batch = layerwise(points=points), events()
    latent = transform(batch)
    columns = transform.numbers(latent.x["event"], batch.conditions())
    count, energy = by_layer(batch)
    assert transform.width == 2 * 5 + 1
    assert torch.equal(transform.counts(columns), count)
    assert torch.equal(transform.mask(latent.x["event"], batch.conditions()), batch.mask)
    back = transform.inverse(latent, batch.conditions())
    assert torch.equal(back.mask, batch.mask)
    again, found = by_layer(back)
    assert torch.equal(again, count)
    torch.testing.assert_close(found, energy, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(back.event["leak"], batch.event["leak"], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(back.x, batch.x, rtol=1e-3, atol=1e-3)


def test_drawn_numbers_of_layers_are_imposed_exactly() -> None:
    transform = layerwise(layers=6)
    event, mask = noise(transform)
    cond = events(64).conditions()
    points = torch.randn(64, 24, 4) * mask[..., None]
    made = transform.inverse(Latent({"event": event, "points": points}, None, mask), cond)
    columns = transform.numbers(event, cond)
    count, energy = transform.layer_numbers(columns, mask.sum(1))
    found, held = by_layer(made)
    assert torch.equal(found, count[:, :5])
    assert int(count[:, 5].sum()) == 0
    uncut = transform.counts(columns).sum(1) == mask.sum(1)
    assert bool(uncut.any())
    assert torch.equal(count[uncut], transform.counts(columns)[uncut])
    torch.testing.assert_close(held, energy[:, :5], rtol=1e-4, atol=1e-9)


def test_a_calibrated_number_of_points_keeps_shares_and_energies_of_the_layers() -> None:
    transform, batch = layerwise(), events()

    class Double:
        active = True

        def __call__(self, number: torch.Tensor) -> torch.Tensor:
            return 2 * number

    transform.__dict__["_modules"].pop("occupancy")
    transform.occupancy = Double()  # type: ignore[assignment]
    event, cond = transform(batch).x["event"], batch.conditions()
    columns = transform.numbers(event, cond)
    told, number = transform.counts(columns), transform.mask(event, cond).sum(1)
    held = 2 * told.sum(1) <= transform.size  # as many as a shower may have
    assert int(held.sum()) > 50
    count, energy = transform.layer_numbers(columns, number)
    assert torch.equal(number[held], 2 * told.sum(1)[held])
    assert torch.equal(count[held], 2 * told[held])
    torch.testing.assert_close(energy, transform.layer_numbers(columns, told.sum(1))[1])


def test_layers_that_lose_their_points_leave_their_energy_to_the_others() -> None:
    transform, batch = layerwise(), events()
    columns = transform.numbers(transform(batch).x["event"], batch.conditions())
    count, energy = transform.layer_numbers(columns, torch.full((len(batch),), 3))
    assert bool((energy[count == 0] == 0).all())
    whole = transform.layer_numbers(columns, transform.counts(columns).sum(1))[1].sum(1)
    torch.testing.assert_close(energy.sum(1), whole)


def test_a_number_of_points_that_is_given_is_refused() -> None:
    count = Field("n", low=1.0, high=24.0, role="count")
    with pytest.raises(UserError, match="counted layer by layer"):
        LayerwiseCloudTransform(spec().with_(event=(count,)), ("incident_energy", "n"), 5)


@maps
@either
def test_showers_of_known_layers_come_back(imposed: bool, points: MakePoints) -> None:
    transform, batch = known(imposed, points), events()
    latent = transform(batch)
    assert batch.mask is not None
    layer = latent.x["points"][..., -1]
    assert torch.equal(POSITIONS[layer[batch.mask].long()], batch.x[batch.mask][:, 1])
    assert torch.equal(transform.mask(latent.x["event"], batch.conditions()), batch.mask)
    back = transform.inverse(latent, batch.conditions())
    torch.testing.assert_close(back.x, batch.x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(back.event["leak"], batch.event["leak"], rtol=1e-4, atol=1e-4)
    rising = batch.x[..., 1].masked_fill(~batch.mask, torch.inf).sort(1).values
    dealt = POSITIONS.new_tensor([*POSITIONS.tolist(), torch.inf])
    found = dealt[transform.layers_of(latent.x["event"])].masked_fill(~batch.mask, torch.inf)
    assert torch.equal(found, rising)


def test_energies_and_centres_are_those_of_the_event_only_where_they_are_imposed() -> None:
    cond = events(64).conditions()
    for imposed in (True, False):
        transform = known(imposed)
        event, mask = noise(transform)
        layer = (transform.layers_of(event) * mask)[..., None]
        points = torch.cat([torch.randn(64, 24, 3) * mask[..., None], layer], -1)
        made = transform.inverse(Latent({"event": event, "points": points}, None, mask), cond)
        assert made.mask is not None
        count, energy = by_layer(made)
        whole = transform.counts(transform.numbers(event, cond))[:, :5]
        uncut = whole.sum(1) == mask.sum(1)
        assert torch.equal(count[uncut], whole[uncut])
        if not imposed:
            plain = transform.points.inverse(points[..., :3], mask)
            assert torch.equal(made.x[..., [0, 2, 3]], plain)
            continue
        numbers = transform.numbers(event, cond).double()
        share = numbers[:, 7:12].exp() * count
        wanted = numbers[:, 6:7].exp() * share / share.sum(1, keepdim=True).clamp_min(1e-30)
        torch.testing.assert_close(energy, wanted, rtol=1e-3, atol=1e-8)
        centres, some = moments(made.x[..., [0, 2, 3]], 2, 2)[:, 1:3], mask.any(1)
        torch.testing.assert_close(
            centres[some].double(), numbers[some, 13:15], rtol=1e-3, atol=1e-3
        )


def test_numbers_are_rounded_half_up_and_never_below_zero() -> None:
    value = torch.tensor([-3.0, -0.6, -0.5, 0.49, 0.5, 1.5, 2.5])
    assert rounded(value).tolist() == [0, 0, 0, 0, 1, 2, 3]
    transform = known()
    columns = torch.full((1, transform.width), -5.0)
    assert int(transform.counts(columns).sum()) == 0
    columns[:, :6] = 90.0
    assert transform.counts(columns).tolist() == [[24, 24, 24, 24, 24, 0]]


def test_a_training_step_sees_real_points_once_each() -> None:
    batch = events()
    assert batch.mask is not None
    x, mask = thinned(batch.x, batch.mask, 8, torch.Generator().manual_seed(0))
    assert torch.equal(mask.sum(1), batch.mask.sum(1).clamp_max(8))
    for event in range(len(batch)):
        seen = x[event][mask[event]]
        assert len(seen.unique(dim=0)) == len(seen)
        held = batch.x[event][batch.mask[event]]
        assert all(bool((held == point).all(1).any()) for point in seen)
    latent = known(subset=8).train()(batch)
    assert latent.x["points"].shape[1] == 8


def test_numbers_of_points_are_corrected_layer_by_layer() -> None:
    transform, batch = known(correction=600), events()
    event = transform(batch).x["event"]
    assert torch.equal(transform.recounted(event, batch.conditions()), event)
    calibration = transform.correction
    assert len(calibration.conditions()) == 600
    true = calibration.means[0].clone()
    biased = true * torch.tensor([1.2, 0.9, 1.0, 3.0, 1.0, 1.0])
    calibration.fit_generated(Batch(biased[None], {}))
    factor = calibration.shift().exp()
    torch.testing.assert_close(factor[:4], torch.tensor([1 / 1.2, 1 / 0.9, 1.0, 0.5]))
    assert float(factor[5]) == 1.0  # a layer without points
    logs = transform.numbers(event, batch.conditions())[:, :6]
    moved = transform.numbers(transform.recounted(event, batch.conditions()), batch.conditions())
    torch.testing.assert_close(moved[:, :6] - logs, factor.log().expand_as(logs), atol=1e-4, rtol=0)
    calibration.forget()
    assert torch.equal(transform.recounted(event, batch.conditions()), event)


def test_means_of_counts_are_those_of_weighted_events() -> None:
    correction = CountCorrection([], 2, 10)
    counts = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    correction.fit_true(Batch(counts, {}, weight=torch.tensor([3.0, 1.0])))
    correction.fit_generated(Batch(counts, {}))
    torch.testing.assert_close(correction.shift().exp(), torch.tensor([0.75, 0.75]))
