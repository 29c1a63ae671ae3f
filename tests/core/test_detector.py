from __future__ import annotations

import math

import pytest

from simulacra.core import UserError
from simulacra.core.detector import Detector, Gun, detector
from simulacra.core.instantiate import instantiate
from simulacra.core.materials import MATERIALS, effective
from simulacra.evaluation import config
from simulacra.formats.ild import LAYER_BOTTOMS, SENSOR
from support import composed, config_names

SLABS = [{"plates": [["G4_Pb", 2.0], ["G4_AIR", 1.0]], "active": [1], "repeat": 4, "per_layer": 2}]
CELLS = [{"axes": ["x", "y"], "counts": [4, 2], "sizes": [5.0, 10.0]}]


def named(name: str, *overrides: str) -> Detector:
    return instantiate(config.compose("produce", [f"detector={name}", *overrides]).detector)


def test_plates_are_counted_into_layers() -> None:
    made = detector("d", SLABS, CELLS, scale=3.0)
    assert [plate.layer for plate in made.plates] == [None, 0, None, 0, None, 1, None, 1]
    assert [plate.scale for plate in made.plates if plate.layer is not None] == [3.0] * 4
    assert made.layer_depths == (4.0, 10.0)  # middles of the air at 2.5 and 5.5, 8.5 and 11.5
    assert made.depth == 12.0
    assert [layer.depth for layer in made.geometry.layers] == [4.0, 10.0]
    assert made.geometry.layers[1].edges == ((-10, -5, 0, 5, 10), (-10, 0, 10))


def test_sensors_of_ild_lie_where_they_do() -> None:
    depths = named("ild").layer_depths
    shifts = [d - (low + SENSOR / 2) for d, low in zip(depths, LAYER_BOTTOMS, strict=True)]
    assert max(shifts) - min(shifts) < 1e-3


@pytest.mark.parametrize("name", config_names("detector"))
def test_the_common_mesh_is_the_same_in_lengths_of_showers(name: str) -> None:
    made = named(name, "detector/mesh=common")
    stack = [(plate.material, plate.thickness) for plate in made.plates]
    assert made.readout == "steps"
    assert made.geometry.padded_shape == (20, 8, 6)
    radii = made.geometry.layers[3].edges[1]
    assert radii[-1] == pytest.approx(4 * effective(stack).moliere_radius)
    assert made.slices is not None
    passed = sum(
        (min(front + p.thickness, made.slices[1]) - front) / MATERIALS[p.material].radiation_length
        for front, p in zip(made.fronts, made.plates, strict=True)
        if front < made.slices[1]
    )
    assert passed == pytest.approx(25 / 20)


def test_a_mesh_that_reaches_behind_the_detector_goes_on_as_it_is_on_average() -> None:
    made = detector(
        "d", SLABS, CELLS, mesh={"depths": 1, "reach": 10.0, "angles": 2, "radii": [0, 1]}
    )
    stack = [(plate.material, plate.thickness) for plate in made.plates]
    inside = sum(t / MATERIALS[name].radiation_length for name, t in stack)
    assert made.slices is not None
    assert made.slices[1] - 12 == pytest.approx((10 - inside) * effective(stack).radiation_length)
    assert made.geometry.layers[0].edges[0] == (-math.pi, 0.0, math.pi)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cells": CELLS * 3}, "2 layers, but cells of 3"),
        ({"scale": [1.0]}, "2 layers of plates, but 1 scales"),
        ({"gun": {"energy": [2, 1]}}, "gun.energy is a range"),
        ({"gun": {"theta": [0, 90]}}, "between 0 and 90"),
        ({"gun": {"colour": 1}}, "colour"),
        ({"cells": CELLS * 2, "mesh": {"slices": [0, 1, 2, 3]}}, "3 layers, but cells of 2"),
        ({"cells": [{"axes": ["alpha", "r"], "counts": [4, 2], "sizes": [1, 2]}]}, "1 sizes"),
        ({"sections": [{"plates": [["G4_Pb", -1.0]]}]}, "thickness in mm"),
        ({"sections": [{"plates": [["G4_Pb", 1.0]]}]}, "no active plate"),
        ({"sections": [{"plates": [["G4_Pb", 1.0]], "active": [1]}]}, "no plate 1"),
        ({"booked": "start"}, "readout=steps"),
    ],
)
def test_parts_that_do_not_fit_are_one_sentence(change: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        detector("d", **{"sections": SLABS, "cells": CELLS, **change})


def test_unknown_materials_have_no_common_mesh() -> None:
    sections = [{"plates": [["G4_Au", 2.0]], "active": [0]}]
    with pytest.raises(UserError, match="G4_Au"):
        detector("d", sections, CELLS, mesh={"depths": 2})


def test_what_is_built_has_a_hash_of_its_own() -> None:
    made = [named("pb_lar"), named("pb_lar", "detector.readout=steps"), named("pb_sci")]
    assert len({item.digest for item in made}) == 3
    assert named("pb_lar", "detector.gun.energy=[2,3]").digest == made[0].digest


def test_data_sets_of_detectors_have_their_cells() -> None:
    for name in ("pb_lar", "pbwo4", "pb_sci", "w_si"):
        spec = composed("data", f"data={name}")["format"]["spec"]
        assert instantiate(spec).geometry == named(name).geometry
    assert Gun() == named("pb_lar").gun
