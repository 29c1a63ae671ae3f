"""Observables of the CaloChallenge against a plain loop over events and layers, from their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra import data
from simulacra.core import Batch
from simulacra.physics.calochallenge import CaloChallengeObservables
from support import composed


def observables(name: str) -> CaloChallengeObservables:
    found = data.build(composed("data", f"data={name}")).observables
    assert isinstance(found, CaloChallengeObservables)
    return found


def showers(judged: CaloChallengeObservables, n: int = 6) -> Batch:
    """Random showers with empty layers, and values on both sides of the cut."""
    generator = torch.Generator().manual_seed(1)
    spec = judged.spec
    x = torch.rand(n, spec.n_voxels, generator=generator).pow(8) * 40 * spec.cut
    start = judged.geometry.sizes[0]
    x[0, :start] = 0
    x[1] = 0
    energy = spec.prior[0].draw(n, generator)
    return Batch(x.reshape(n, *spec.shape), {"incident_energy": energy})


def by_hand(judged: CaloChallengeObservables, batch: Batch) -> list[list[float]]:
    """The 'high' inputs, one event, one layer, one voxel at a time."""
    rows = []
    for event in range(len(batch)):
        cells = [float(v) if v >= judged.spec.cut else 0.0 for v in batch.x[event].flatten()]
        energy, sparse, centre, width = (
            [],
            [],
            {"x": [], "y": [], "r": []},
            {"x": [], "y": [], "r": []},
        )
        start = 0
        for layer in judged.geometry.layers:
            n_alpha, n_r = layer.shape
            sums = dict.fromkeys(("e", "x", "y", "r", "xx", "yy", "rr"), 0.0)
            zero = 0
            for a in range(n_alpha):
                alpha = -math.pi + (a + 0.5) * 2 * math.pi / n_alpha
                for i in range(n_r):
                    r = (layer.edges[1][i] + layer.edges[1][i + 1]) / 2
                    e = cells[start + a * n_r + i]
                    place = {"x": r * math.cos(alpha), "y": r * math.sin(alpha), "r": r}
                    zero += e == 0
                    sums["e"] += e
                    for key, g in place.items():
                        sums[key] += g * e
                        sums[2 * key] += g * g * e
            start += n_alpha * n_r
            energy.append(sums["e"])
            sparse.append(zero / (n_alpha * n_r))
            for key in ("x", "y", "r"):
                if key == "r" or n_alpha > 1:
                    mean = sums[key] / (sums["e"] + 1e-16)
                    centre[key].append(mean)
                    width[key].append(
                        math.sqrt(max(0.0, sums[2 * key] / (sums["e"] + 1e-16) - mean**2))
                    )
        row = [math.log10(batch.cond["incident_energy"][event, 0])]
        row += [math.log10(e + 1e-8) for e in energy]
        row += [v / 100 for key in ("x", "y") for v in centre[key]]
        row += [v / 100 for key in ("x", "y") for v in width[key]]
        row += [math.log10(sum(energy) + 1e-8), *sparse]
        rows.append(row + [v / 100 for v in centre["r"]] + [v / 100 for v in width["r"]])
    return rows


@pytest.mark.parametrize(("name", "inputs"), [("ds1_photons", 30), ("ds1_pions", 46), ("ds2", 362)])
def test_high_inputs_have_the_published_order_and_definitions(name: str, inputs: int) -> None:
    judged = observables(name)
    batch = showers(judged, 3)
    features = judged.features(batch)
    assert features.shape == (3, inputs)
    expected = torch.tensor(by_hand(judged, batch), dtype=torch.float64)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "inputs"), [("ds1_photons", 369), ("ds1_pions", 534), ("ds2", 6481), ("ds3", 40501)]
)
def test_low_inputs_are_the_energy_and_all_voxels(name: str, inputs: int) -> None:
    judged = observables(name)
    batch = showers(judged, 2)
    cells = judged.cells(batch)
    assert cells.shape == (2, inputs)
    kept = torch.where(batch.x.flatten(1) < judged.spec.cut, 0.0, batch.x.flatten(1))
    torch.testing.assert_close(cells[:, 1:] * judged.incident(batch)[:, None], kept.double())


def test_empty_layers_have_no_centre_and_no_width() -> None:
    judged = observables("ds1_photons")
    found = judged(showers(judged))
    for name in ("ec_r_layer_0", "width_r_layer_0", "energy_layer_0"):
        assert float(found[name][0]) == 0
    assert float(found["sparsity_layer_0"][0]) == 1
    assert float(found["e_tot_over_e_inc"][1]) == 0
    assert int(found["voxel_energy"].counts[1]) == 0


def test_voxels_below_the_cut_do_not_count() -> None:
    judged = observables("ds1_photons")
    batch = showers(judged)
    cut = Batch(torch.where(batch.x < judged.spec.cut, 0.0, batch.x), batch.cond)
    assert torch.equal(judged.features(batch), judged.features(cut))
    assert not torch.equal(batch.x, cut.x)


def test_only_layers_binned_in_angle_have_eta_and_phi() -> None:
    names = set(observables("ds1_pions").axes())
    assert {n for n in names if n.startswith("ec_eta")} == {
        f"ec_eta_layer_{i}" for i in (1, 2, 12, 13)
    }
    assert {n for n in names if n.startswith("width_phi")} == {
        f"width_phi_layer_{i}" for i in (1, 2, 12, 13)
    }


def test_binning_is_the_public_one() -> None:
    axes = observables("ds1_pions").axes()
    assert (
        axes["e_tot_over_e_inc"].bins,
        axes["e_tot_over_e_inc"].low,
        axes["e_tot_over_e_inc"].high,
    ) == (100, 0.5, 1.5)
    assert (
        axes["energy_layer_1"].bins,
        axes["energy_layer_1"].low,
        axes["energy_layer_1"].log,
    ) == (39, 1.0, True)
    assert axes["voxel_energy"].bins == 49
    assert (axes["ec_eta_layer_2"].low, axes["ec_eta_layer_2"].high) == (-100, 100)
    assert (axes["ec_eta_layer_12"].low, axes["ec_eta_layer_12"].high) == (-500, 500)
    assert axes["width_phi_layer_13"].high == 400
    assert (axes["ec_r_layer_3"].high, axes["ec_r_layer_14"].high) == (500, 1500)
    assert axes["sparsity_layer_0"].bins == 20
    ds2 = observables("ds2").axes()
    assert (ds2["ec_phi_layer_7"].high, ds2["width_eta_layer_7"].high) == (30, 30)
    assert (ds2["ec_r_layer_7"].high, ds2["width_r_layer_7"].high) == (42, 20)


def test_response_has_one_window_per_energy_and_narrows_from_4_gev() -> None:
    bins = observables("ds1_photons").response_bins()
    assert bins is not None
    assert [(b.low, b.high) for b in bins] == [(2.0**i, 2.0 ** (i + 1)) for i in range(8, 23)]
    ranges = [(b.axis.low, b.axis.high) for b in bins if b.axis is not None]
    assert ranges[:4] == [(0.4, 1.4)] * 4
    assert ranges[4:] == [(0.9, 1.1)] * 11
    assert observables("ds2").response_bins() is None
