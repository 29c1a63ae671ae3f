import math

import pytest
import torch

from simulacra.core import Batch, Geometry, IncompatibleError, Layer, Spec, UserError
from simulacra.data.views import CloudView
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.formats.calochallenge import ds1_photons, ds1_pions, ds2, ds3, geometry_of
from simulacra.formats.calogan import calogan
from simulacra.formats.ild import ild, ild_10x10, ild_angles

SPECS = [make() for make in (ds1_photons, ds1_pions, ds2, ds3, calogan, ild, ild_10x10, ild_angles)]


def every_cell(spec: Spec, events: int = 2) -> Batch:
    """Each event has hits in every ``events``-th cell, so that all cells occur."""
    generator = torch.Generator().manual_seed(0)
    flat = torch.rand(events, spec.n_voxels, generator=generator) + 0.1
    flat = torch.where(
        torch.arange(spec.n_voxels) % events == torch.arange(events)[:, None], flat, 0.0
    )
    return Batch(flat.view(events, *spec.shape), {"incident_energy": torch.full((events, 1), 50.0)})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_projecting_points_back_gives_the_same_cells(spec: Spec) -> None:
    view, batch = CloudView(spec, spec.n_voxels), every_cell(spec)
    cloud = view.forward(batch)
    cloud.validate()
    assert cloud.x.shape[1:] == view.spec.shape
    assert view.spec.name == f"{spec.name}+cloud"
    assert torch.equal(view.inverse(cloud).x, batch.x)
    for field, column in zip(view.spec.features, cloud.x[cloud.mask].T, strict=True):
        assert field.low is not None
        assert float(column.min()) >= field.low
        assert field.high is None or float(column.max()) <= field.high


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_order_of_points_does_not_matter(spec: Spec) -> None:
    view = CloudView(spec, spec.n_voxels)
    cloud = view.forward(every_cell(spec))
    order = torch.randperm(cloud.x.shape[1], generator=torch.Generator().manual_seed(1))
    assert cloud.mask is not None
    shuffled = Batch(cloud.x[:, order], cloud.cond, mask=cloud.mask[:, order])
    assert torch.equal(view.inverse(shuffled).x, view.inverse(cloud).x)


def cloud_of(points: list[list[float]]) -> Batch:
    return Batch(torch.tensor([points]), {}, mask=torch.ones(1, len(points), dtype=torch.bool))


def test_points_fall_into_the_cell_that_contains_them_and_add_up() -> None:
    view, angle = (
        CloudView(ds2(), 10),
        math.pi / 16 * 1.2,
    )  # in the ninth bin of 16, which starts at 0
    points = [
        [
            5.0 * math.cos(angle),
            5.0 * math.sin(angle),
            3.5,
            1.0,
        ],  # layer 1, angle 8, radius 4.65 to 9.3
        [9.2 * math.cos(0.01), 9.2 * math.sin(0.01), 5.0, 2.0],  # the same cell
        [500.0, 1.0, 1e4, 4.0],  # far outside: last layer, last radius
    ]
    x = view.inverse(cloud_of(points)).x[0]
    assert x[1, 8, 1] == 3.0
    assert x[44, 8, 8] == 4.0
    assert x.sum() == 7.0


def test_a_layer_without_angles_takes_points_at_any_angle() -> None:
    view, geometry = CloudView(ds1_photons(), 10), geometry_of(ds1_photons())
    x = view.inverse(cloud_of([[-7.0, 0.1, 0.0, 1.0], [0.0, -7.0, 0.2, 1.0]])).x
    assert geometry.split(x)[0][0, 0].tolist() == [0, 2, 0, 0, 0, 0, 0, 0]


def test_weights_conditions_and_events_pass_through() -> None:
    spec = calogan()
    batch = every_cell(spec)
    batch = Batch(
        batch.x, batch.cond, {"overflow": torch.ones(2, 3)}, None, torch.tensor([1.0, 2.0])
    )
    view = CloudView(spec, 504)
    back = view.inverse(view.forward(batch))
    spec.validate(back)
    assert torch.equal(back.event["overflow"], batch.event["overflow"])
    assert back.weight is not None
    assert back.weight.tolist() == [1.0, 2.0]


def test_only_an_axis_that_closes_on_itself_is_periodic() -> None:
    unrolled = Layer(0, ("phi", "z"), ((0.0, 1.0, 2.0), (0.0, 5.0)), 1.0, periodic=0)
    spec = Spec("barrel", "grid", (1, 2, 1), "MeV", geometry=Geometry((unrolled,)))
    features = CloudView(spec, 2).spec.features
    assert [field.periodic for field in features] == [True, False, False, False]
    for plain in (ds2(), calogan(), ild()):
        assert not any(field.periodic for field in CloudView(plain, 504).spec.features)


def test_an_empty_shower_is_an_empty_cloud() -> None:
    view = CloudView(ds1_photons(), 20)
    cloud = view.forward(Batch(torch.zeros(2, 368)))
    assert cloud.mask is not None
    assert not bool(cloud.mask.any())
    assert torch.equal(view.inverse(cloud).x, torch.zeros(2, 368))


def test_a_shower_with_too_many_points_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"has 184 hit cells, the cloud holds 20: raise data\.views\.cloud\.points"
    ):
        CloudView(ds1_photons(), 20).forward(every_cell(ds1_photons()))


def test_a_cloud_has_no_cloud_view() -> None:
    with pytest.raises(
        IncompatibleError, match="ild_cloud has no view 'cloud': its events are of kind cloud"
    ):
        CloudView(ild_cloud(), 20)
