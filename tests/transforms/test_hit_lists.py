"""Showers as lists of the cells that are hit, and back."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, Spec, UserError
from simulacra.data.views import CloudView
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.transforms.hit_lists import HitLists
from toy_showers import ENERGY, PHOTONS, TOY, layers_spec, toy


def transform(spec: Spec, batch: Batch, **settings: float) -> HitLists:
    made = HitLists(spec, [ENERGY], **settings)
    made.fit([batch])
    return made.eval()


def again(made: HitLists, batch: Batch) -> Batch:
    return made.inverse(made(batch), batch.conditions())


def ragged(n: int = 20) -> Batch:
    source = torch.Generator().manual_seed(0)
    x = torch.rand(n, PHOTONS.n_voxels, generator=source)
    x = torch.where(x > 0.7, 1.0 + 40 * x, 0.0)
    return Batch(x, {"incident_energy": torch.full((n, 1), 1000.0)})


def clouds(n: int = 12) -> Batch:
    """Points of ILD, some of them in one cell."""
    source = torch.Generator().manual_seed(0)
    place = torch.rand(n, 60, 4, generator=source)
    x = 30 * place[..., 0] - 15
    layer, z = (30 * place[..., 1]).floor(), 40 + 30 * place[..., 2] - 15
    points = torch.stack([x, layer, z, 2e-4 + 1e-3 * place[..., 3]], -1)
    points[:, 30:, :3] = points[:, :30, :3]
    mask = torch.arange(60) < torch.arange(n)[:, None] * 5
    return Batch(
        torch.where(mask[..., None], points, 0.0),
        {"incident_energy": torch.full((n, 1), 20.0)},
        mask=mask,
    )


@pytest.mark.parametrize(("spec", "batch"), [(TOY, toy(50, 0)), (layers_spec(PHOTONS), ragged())])
def test_cells_from_the_floor_on_come_back(spec: Spec, batch: Batch) -> None:
    made = transform(spec, batch)
    torch.testing.assert_close(again(made, batch).x, batch.x, rtol=1e-5, atol=0)


def test_cells_below_the_floor_are_empty() -> None:
    batch = toy(50, 0)
    back = again(transform(TOY, batch, floor=5.0), batch)
    assert bool((batch.x[back.x == 0] < 5.0).all())
    torch.testing.assert_close(back.x[back.x > 0], batch.x[batch.x >= 5.0], rtol=1e-5, atol=0)


def test_points_are_summed_in_cells_and_come_back_at_their_middles() -> None:
    spec, batch = ild_cloud(), clouds()
    batch = Batch(batch.x, batch.cond, {}, batch.mask)
    made = HitLists(spec, [spec.by_role("energy")])
    made.fit([batch])
    back = again(made, batch)
    spec.validate(back)
    torch.testing.assert_close(back.x[..., 3].sum(1), batch.x[..., 3].sum(1))
    assert back.mask is not None
    assert bool((back.mask.sum(1) <= batch.mask.sum(1)).all())
    assert int(back.mask[8].sum()) < int(batch.mask[8].sum())  # 40 points in fewer cells
    torch.testing.assert_close(again(made, back).x, back.x, rtol=1e-5, atol=1e-9)
    near = (back.x[8, back.mask[8]][:, None, :3] - batch.x[8, :40][None, :, :3]).abs()
    pitch = spec.geometry.layers[0].edges[0][1] - spec.geometry.layers[0].edges[0][0]
    close = (near[..., 0] <= pitch / 2 + 1e-3) & (near[..., 2] <= pitch / 2 + 1e-3)
    assert bool((close & (near[..., 1] < 0.1)).any(1).all())


def test_a_view_as_a_cloud_has_the_lists_of_its_cells() -> None:
    batch, view = toy(30, 0), CloudView(TOY, 200)
    cells, points = transform(TOY, batch), HitLists(view.spec, [ENERGY])
    points.fit([view.forward(batch)])
    one, two = cells(batch), points(view.forward(batch))
    assert torch.equal(one.mask, two.mask)
    torch.testing.assert_close(one.x["hits"], two.x["hits"])


def test_hits_stand_layer_by_layer_with_falling_energies() -> None:
    latent = transform(TOY, toy(50, 0))(toy(50, 1))
    hits, mask = latent.x["hits"], latent.mask
    pair = mask[:, 1:]
    layer, energy = (hits[:, 1:, k] - hits[:, :-1, k] for k in (0, 3))
    assert bool((layer[pair] >= 0).all())
    assert bool((energy[pair & (layer == 0)] <= 0).all())
    assert torch.equal(mask.sum(1), (toy(50, 1).x >= 1.0).sum((1, 2, 3)))
    assert float(hits[~mask].abs().sum()) == 0


def test_too_many_hits_are_refused_with_the_remedy() -> None:
    batch = toy(50, 0)
    with pytest.raises(UserError, match="a list holds 9: raise model"):
        transform(TOY, batch, most=9)(batch)


def test_without_a_threshold_the_floor_is_the_smallest_energy() -> None:
    batch, spec = toy(50, 0), TOY.with_(threshold=0.0, cut=0.0)
    made = transform(spec, batch)
    assert float(made.floor) == float(batch.x[batch.x > 0].min())
    torch.testing.assert_close(again(made, batch).x, batch.x, rtol=1e-5, atol=0)
    with pytest.raises(UserError, match="no hits"):
        transform(spec, Batch(torch.zeros(3, 8, 5, 5), {"incident_energy": torch.ones(3, 1)}))


def test_nan_stays_nan_and_an_empty_shower_empty() -> None:
    batch = toy(4, 0)
    x = batch.x.clone()
    x[1] = 0.0
    x[2, 0, 0, 0] = torch.nan
    latent = transform(TOY, batch)(Batch(x, batch.cond))
    assert int(latent.mask[1].sum()) == 0
    assert bool(latent.x["hits"][2, 0, 3].isnan())
    assert bool(latent.mask[2, 0])
    assert bool(latent.x["hits"][[0, 1, 3]].isfinite().all())


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_a_drawn_hit_with_a_number_that_is_none_makes_a_shower_that_is_not_finite(
    column: int,
) -> None:
    batch = toy(4, 0)
    made = transform(TOY, batch)
    latent = made(batch)
    latent.x["hits"][2, 0, column] = torch.nan
    x = made.inverse(latent, batch.conditions()).x
    assert not bool(x[2].isfinite().all())
    torch.testing.assert_close(x[[0, 1, 3]], batch.x[[0, 1, 3]], rtol=1e-5, atol=0)


def test_the_volume_is_that_of_logarithms_of_energies() -> None:
    batch = toy(6, 0)
    made = transform(TOY, batch)
    wanted = -torch.where(batch.x > 0, batch.x.clamp(min=1e-9).log(), 0.0).sum((1, 2, 3))
    torch.testing.assert_close(made.log_det(made(batch)), wanted, rtol=1e-4, atol=1e-3)
