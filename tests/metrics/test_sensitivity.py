"""Each distortion moves a figure that is named here by more than five of its errors from its floor.

On the samples that come with the package: 2,000 showers of ds1_photons (900 jets, ...) against as many, and
floors from further true events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from metrics import distortions
from simulacra import data
from simulacra.core import Batch
from simulacra.data.base import EventDataModule
from simulacra.metrics import Evaluator
from simulacra.metrics.distances.memorisation import memorisation_score
from support import composed

EVENTS = {"ds1_photons": 2000, "calogan": 480, "jetnet30": 900, "pxd_small": 60}
"""Events of the reference and of the judged sample; floors come from as many."""
REPLICAS = 10


@cache
def module(name: str) -> EventDataModule:
    return data.build(composed("data", f"data={name}"))


@cache
def evaluator(name: str) -> Evaluator:
    n = EVENTS[name]
    reference, truth = module(name).batch(n, "test"), module(name).batch(n)
    scores = {"memorisation": memorisation_score} if name == "ds1_photons" else {}
    return Evaluator(
        reference,
        module(name).observables,
        truth=truth,
        training=truth,
        scores=scores,
        replicas=REPLICAS,
    )


def generated(name: str) -> Batch:
    """True events that are neither the reference nor the truth behind the floor."""
    n = EVENTS[name]
    batch = module(name).batch(2 * n)
    return batch[n:]


def spec(name: str):  # type: ignore[no-untyped-def]
    return module(name).native_spec


@cache
def figures(name: str, distortion: Callable[[Batch], Batch] | None) -> dict[str, float]:
    batch = generated(name)
    return evaluator(name)(batch if distortion is None else distortion(batch), "").metrics


def pull(metrics: dict[str, float], key: str) -> float:
    """How many errors a figure lies above its floor (the size of it, for signed ones)."""
    return (abs(metrics[key]) - abs(metrics[f"{key}/floor"])) / metrics[f"{key}/error"]


DS1, CALOGAN, JETS, PXD = "ds1_photons", "calogan", "jetnet30", "pxd_small"
CASES = {
    "energies x 1.02": (
        CALOGAN, lambda b: distortions.scaled(b, spec(CALOGAN), 1.02), "w1/e_tot_over_e_inc"
    ),
    "energies x 1.05": (
        DS1, lambda b: distortions.scaled(b, spec(DS1), 1.05), "w1/e_tot_over_e_inc"
    ),
    "layer 2 exchanged": (
        DS1, lambda b: distortions.exchanged_layer(b, spec(DS1), 2), "correlation"
    ),
    "1 % of voxels on": (
        DS1, lambda b: distortions.switched_on(b, spec(DS1), 0.01), "w1/width_r_layer_2"
    ),
    "jets rotated by 0.02": (
        JETS, lambda b: distortions.rotated(b, spec(JETS), 0.02), "w1/centroid_phi"
    ),
    "one sensor x 1.2": (
        PXD, lambda b: distortions.busier_sensor(b, 3, 1.2), "w1/occupancy_sensor_12"
    ),
    "half are copies of 100": (DS1, distortions.half_copies, "memorisation/duplicates"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_distortion_moves_the_figure_that_should_see_it(case: str) -> None:
    name, distortion, key = CASES[case]
    assert pull(figures(name, distortion), key) > 5
    assert pull(figures(name, None), key) < 3, "undistorted events lie near the floor"


def test_distortions_change_no_event_in_place_and_what_they_say() -> None:
    batch = generated(PXD)
    before = batch.x.clone()
    busier = distortions.busier_sensor(batch, 3, 1.2)
    assert bool((batch.x == before).all())
    fired = [(b.x > 0).sum((0, 2, 3)).double() for b in (batch, busier)]
    assert float(fired[1][3] / fired[0][3]) == pytest.approx(1.2, abs=0.01)
    assert bool((fired[1][[0, 1, 2, 4]] == fired[0][[0, 1, 2, 4]]).all())
    showers = generated(DS1)[:200]
    layers = [
        spec(DS1).geometry.split(b.x)
        for b in (showers, distortions.exchanged_layer(showers, spec(DS1), 2))
    ]
    assert bool((layers[0][1] == layers[1][1]).all())
    assert not bool((layers[0][2] == layers[1][2]).all())
    assert float(layers[0][2].sum()) == pytest.approx(float(layers[1][2].sum()), rel=1e-5)


def test_clouds_are_distorted_as_grids_are() -> None:
    cloud = module("ild_cloud")
    batch, spec_ = cloud.batch(12), cloud.native_spec
    judged = cloud.observables
    plain = judged(batch)
    for other, factor in (
        (distortions.scaled(batch, spec_, 1.02), 1.02),
        (distortions.exchanged_layer(batch, spec_, 10), 1.0),
    ):
        found = judged(other)
        total = float(found["e_tot"].sum() / plain["e_tot"].sum())
        assert total == pytest.approx(factor, abs=0.01)
    more = judged(distortions.switched_on(batch, spec_, 0.01))["n_hit"] - plain["n_hit"]
    assert 200 < float(more.mean()) < 270  # some points share a cell
