"""Observables of CaloGAN and ILD on showers worked out by hand, and what holds for every set."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra import data
from simulacra.core import Batch
from simulacra.formats.ild import LAYER_BOTTOMS, SENSOR
from simulacra.physics.base import ObservableSet, Ragged
from simulacra.physics.calo import CalorimeterObservables
from simulacra.physics.ild_cloud import ILDCloudObservables
from support import composed

GRIDS = ("ds1_photons", "ds1_pions", "ds2", "calogan", "ild", "ild_10x10", "ild_angles")


def observables(name: str) -> ObservableSet:
    return data.build(composed("data", f"data={name}")).observables


@pytest.mark.parametrize("name", [*GRIDS, "ild_cloud"])
def test_every_observable_has_an_axis_and_one_row_per_event(name: str, toy) -> None:  # type: ignore[no-untyped-def]
    module = toy(name)
    batch = module.batch(7)
    judged = module.observables
    found = judged(batch)
    assert set(found) == set(judged.axes())
    assert all(
        len(value.counts if isinstance(value, Ragged) else value) == 7 for value in found.values()
    )
    features = judged.features(batch)
    assert features.shape[0] == 7
    assert bool(features.isfinite().all())
    assert bool(judged.cells(batch).isfinite().all())
    asked, seen = judged.response(batch) or pytest.fail("a calorimeter has a response")
    assert asked.shape == seen.shape == (7,)
    torch.testing.assert_close(seen / asked, found["e_tot_over_e_inc"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", [*GRIDS, "ild_cloud"])
def test_profiles_and_images_hold_the_visible_energy(name: str, toy) -> None:  # type: ignore[no-untyped-def]
    module = toy(name)
    batch = module.batch(7)
    judged = module.observables
    profile = judged.profiles(batch)["longitudinal"]
    _, seen = judged.response(batch) or pytest.fail("a calorimeter has a response")
    scale = 1e3 if name == "ild_cloud" else 1.0  # its profiles are in MeV, its points in GeV
    torch.testing.assert_close(profile.values.double().sum(1), seen * scale, rtol=1e-4, atol=1e-4)
    assert profile.values.shape[1] == len(profile.edges) - 1
    images = judged.images(batch)
    assert images
    for image in images.values():
        assert image.values.shape == tuple(len(edges) - 1 for edges in image.edges)
    if isinstance(judged, CalorimeterObservables) and len(judged.geometry) <= 12:
        summed = sum(
            float(image.values.sum()) for key, image in images.items() if key != "all_layers"
        )
        assert summed == pytest.approx(float(seen.sum()), rel=1e-4)
        radial = judged.profiles(batch)["radial"].values
        torch.testing.assert_close(radial.double().sum(1), seen, rtol=1e-4, atol=1e-4)


def test_shower_shapes_of_calogan_by_hand() -> None:
    judged = observables("calogan")
    assert isinstance(judged, CalorimeterObservables)
    layers = [torch.zeros(1, *layer.shape) for layer in judged.geometry.layers]
    layers[0][0, 1, 10] = 100.0
    layers[1][0, 0, 0], layers[1][0, 11, 0] = 300.0, 100.0
    layers[2][0, 3, 2] = 100.0
    batch = Batch(judged.geometry.join(layers), {"incident_energy": torch.tensor([[1.0]])})
    found = {name: float(value[0]) for name, value in judged(batch).items() if value.ndim == 1}
    assert found["e_tot_over_e_inc"] == pytest.approx(0.6)
    assert found["depth"] == 2
    assert found["depth_weighted_energy"] == pytest.approx(400 + 2 * 100)
    assert found["shower_depth"] == pytest.approx(1.0)
    assert found["shower_depth_width"] == pytest.approx(math.sqrt((400 + 4 * 100) / 600 - 1))
    assert found["fraction_layer_1"] == pytest.approx(400 / 600)
    assert found["e_ratio_layer_1"] == pytest.approx(200 / 400)
    assert found["e_ratio_layer_0"] == pytest.approx(1.0)
    assert found["sparsity_layer_1"] == pytest.approx(2 / 144)
    # cells of 40 mm along the first axis: 3/4 at -220, 1/4 at +220
    assert found["width_layer_1"] == pytest.approx(math.sqrt(220**2 - 110**2), rel=1e-6)
    assert found["brightest_2_layer_1"] == pytest.approx(0.25)


def test_moments_of_ild_by_hand() -> None:
    judged = observables("ild")
    x = torch.zeros(1, 30, 30, 30)
    x[0, 4, 10, 20], x[0, 8, 14, 20] = 3.0, 1.0
    x[0, 20, 5, 5] = 0.05  # below half a MIP
    batch = Batch(x, {"incident_energy": torch.tensor([[20.0]])})
    values = judged(batch)
    found = {name: float(value[0]) for name, value in values.items() if value.ndim == 1}
    assert found["e_tot"] == pytest.approx(4.0)
    assert found["e_tot_over_e_inc"] == pytest.approx(4.0 / 20_000)
    assert found["n_hit"] == 2
    assert found["m1_z"] == pytest.approx(5.0)
    assert found["m2_z"] == pytest.approx(0.75 * 1 + 0.25 * 9)
    assert found["m1_x"] == pytest.approx(11.0)
    assert found["m1_y"] == pytest.approx(20.0)
    assert found["m2_y"] == pytest.approx(0.0)
    assert [found[f"third_{i}"] for i in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert values["hit_energy"].counts.tolist() == [3], "the hit spectrum is uncut"


def test_an_empty_shower_has_undefined_moments_and_finite_inputs() -> None:
    judged = observables("ild")
    batch = Batch(torch.zeros(2, 30, 30, 30), {"incident_energy": torch.full((2, 1), 20.0)})
    assert bool(judged(batch)["m1_z"].isnan().all())
    assert bool(judged.features(batch).isfinite().all())


def cloud(points: list[tuple[float, float, float, float]]) -> Batch:
    judged = observables("ild_cloud")
    x = torch.zeros(1, *judged.spec.shape)
    mask = torch.zeros(1, judged.spec.shape[0], dtype=torch.bool)
    columns = [
        [field.name for field in judged.spec.features].index(name) for name in ("x", "layer", "z")
    ]
    for i, (px, layer, pz, energy) in enumerate(points):
        x[0, i, columns[0]], x[0, i, columns[1]], x[0, i, columns[2]], x[0, i, -1] = (
            px,
            layer,
            pz,
            energy,
        )
        mask[0, i] = True
    return Batch(x, {"incident_energy": torch.tensor([[10.0]])}, mask=mask)


def test_points_in_one_cell_are_one_hit_and_weak_cells_are_none() -> None:
    judged = observables("ild_cloud")
    assert isinstance(judged, ILDCloudObservables)
    low = judged.phase[0] + 15 * judged.pitch
    points = [
        (low + 0.5, 3, 41.0, 0.002),
        (low + 1.5, 3, 41.0, 0.001),
        (low + 0.5, 9, 41.0, 0.00006),
        (low + 30, 20, 41.0, 0.001),
    ]
    hits = judged.project(cloud(points))
    assert hits.layer.tolist() == [3, 20]
    torch.testing.assert_close(
        hits.energy, torch.tensor([0.003, 0.001], dtype=torch.float64), rtol=1e-6, atol=0
    )
    assert float(hits.x[0]) == pytest.approx(low + judged.pitch / 2)
    found = judged(cloud(points))
    assert float(found["n_hit"][0]) == 2
    assert float(found["e_tot"][0]) == pytest.approx(4.0)
    assert float(found["cog_y"][0]) == pytest.approx(
        (3 * LAYER_BOTTOMS[3] + LAYER_BOTTOMS[20]) / 4 + SENSOR / 2
    )
    for kind in ("layers", "ring"):
        assert sum(float(found[f"energy_{kind}_{i}"][0]) for i in range(10)) == pytest.approx(4.0)


def test_the_order_of_points_does_not_matter(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("ild_cloud")
    batch = module.batch(5)
    order = torch.randperm(batch.x.shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = Batch(batch.x[:, order], batch.cond, batch.event, batch.mask[:, order])
    torch.testing.assert_close(
        module.observables.features(batch), module.observables.features(shuffled)
    )


def test_the_last_layer_belongs_to_the_last_group() -> None:
    judged = observables("ild_cloud")
    found = judged(cloud([(0.0, 29, 40.0, 0.005)]))
    assert float(found["energy_layers_9"][0]) == pytest.approx(5.0)


def test_shower_shapes_of_calogan_are_those_of_a_loop(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("calogan")
    batch = module.batch(20)
    layers = [part.clone() for part in module.observables.geometry.split(batch.x.flatten(1))]
    layers[2][3] = 0  # an empty layer
    layers[1][4] = 0
    batch = Batch(module.observables.geometry.join(layers), batch.cond, batch.event)
    found = module.observables(batch)
    for b in range(20):
        cells = [part[b].double() for part in layers]
        energy = [float(part.sum()) for part in cells]
        total, depth = sum(energy), energy[1] + 2 * energy[2]
        expected = {
            "e_tot": total,
            "e_tot_over_e_inc": total / (1000 * float(batch.cond["incident_energy"][b])),
            "depth": max(k for k in range(3) if energy[k] > 0),
            "depth_weighted_energy": depth,
            "shower_depth": depth / total,
            "shower_depth_width": math.sqrt(
                max(0.0, (energy[1] + 4 * energy[2]) / total - (depth / total) ** 2)
            ),
        }
        for k, (part, n) in enumerate(zip(cells, (3, 12, 12), strict=True)):
            x = (torch.arange(n) + 0.5) * 480.0 / n - 240
            first = float((part.sum(1) * x).sum()) / (energy[k] + 1e-6)
            second = float((part.sum(1) * x**2).sum()) / (energy[k] + 1e-6)
            one, two = part.flatten().sort(descending=True).values[:2].tolist()
            expected[f"fraction_layer_{k}"] = energy[k] / total
            expected[f"width_layer_{k}"] = math.sqrt(max(0.0, second - first**2))
            expected[f"e_ratio_layer_{k}"] = (one - two) / (one + two + 1e-6)
            expected[f"sparsity_layer_{k}"] = float((part > 0).double().mean())
            if energy[k]:
                expected[f"brightest_2_layer_{k}"] = two / (energy[k] + 1e-6)
        for name, value in expected.items():
            assert float(found[name][b]) == pytest.approx(value, rel=1e-6, abs=1e-3), name
