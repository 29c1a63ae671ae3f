"""Separation powers against a plain numpy restatement of the CaloChallenge's public evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simulacra import data
from simulacra.core import Batch
from simulacra.metrics import evaluate
from simulacra.metrics.engine.bins import histogram, resolve
from simulacra.physics.base import Axis, even_edges
from simulacra.physics.calochallenge import CaloChallengeObservables
from support import composed

Array = NDArray[np.float64]
RANGES = {
    "ds1_photons": {"ec": 100.0, "width": 100.0, "ec_r": 500.0, "width_r": 500.0},
    "ds2": {"ec": 30.0, "width": 30.0, "ec_r": 42.0, "width_r": 20.0},
    "ds3": {"ec": 30.0, "width": 30.0, "ec_r": 42.0, "width_r": 20.0},
}
SPARSITY = Axis("sparsity", bins=20, low=0.0, high=1.0)
OUTER = {"ec": 500.0, "width": 400.0, "ec_r": 1500.0, "width_r": 1500.0}  # layer 12 of ds1


def restated(
    judged: CaloChallengeObservables, batch: Batch
) -> tuple[dict[str, Array], NDArray[np.float32]]:
    """Features of each layer, computed layer by layer from full arrays, and all voxels."""
    voxels = batch.x.flatten(1).numpy().copy()
    voxels[voxels < judged.spec.cut] = 0
    asked = batch.cond["incident_energy"][:, 0].double().numpy()
    found = {"e_tot_over_e_inc": voxels.sum(-1, dtype=np.float64) / asked}
    start = 0
    for layer in judged.geometry.layers:
        n_alpha, n_r = layer.shape
        part = voxels[:, start : start + n_alpha * n_r].astype(np.float64)
        start += n_alpha * n_r
        radius = np.tile(np.add(layer.edges[1][:-1], layer.edges[1][1:]) * 0.5, n_alpha)
        angle = np.repeat(-np.pi + (np.arange(n_alpha) + 0.5) * 2 * np.pi / n_alpha, n_r)
        total = part.sum(-1)
        found[f"energy_layer_{layer.id}"] = total
        found[f"sparsity_layer_{layer.id}"] = 1.0 - (part > 0).mean(-1)
        places = {"r": radius}
        if n_alpha > 1:
            places |= {"eta": radius * np.cos(angle), "phi": radius * np.sin(angle)}
        for name, place in places.items():
            centre = (place * part).sum(-1) / (total + 1e-16)
            square = (place * place * part).sum(-1) / (total + 1e-16)
            found[f"ec_{name}_layer_{layer.id}"] = centre
            found[f"width_{name}_layer_{layer.id}"] = np.sqrt((square - centre**2).clip(min=0.0))
    return found, voxels


def edges_of(name: str, data_set: str, reference: Array, cut: float) -> Array:
    kind, _, layer = name.partition("_layer_")
    ranges = OUTER if data_set == "ds1_photons" and layer == "12" else RANGES[data_set]
    if kind == "e_tot_over_e_inc":
        return np.linspace(0.5, 1.5, 101)
    if kind == "energy":
        return np.logspace(np.log10(cut), np.log10(reference.max()), 40)
    if kind == "sparsity":
        return np.linspace(0, 1, 21)
    if kind in ("ec_eta", "ec_phi"):
        return np.linspace(-ranges["ec"], ranges["ec"], 101)
    if kind in ("width_eta", "width_phi"):
        return np.linspace(0.0, ranges["width"], 101)
    return np.linspace(0.0, ranges[kind], 101)


def power(reference: Array, generated: Array, edges: Array) -> float:
    p, q = (np.histogram(v, edges, density=True)[0] for v in (reference, generated))
    p, q = p * np.diff(edges), q * np.diff(edges)
    return float(0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum())


def expectations(
    judged: CaloChallengeObservables, name: str, truth: Batch, made: Batch
) -> tuple[dict[str, float], set[str]]:
    """All separation powers, and the names of centres of which a value cancels to rounding."""
    (reference, cells), (generated, other) = (restated(judged, part) for part in (truth, made))
    cut = judged.spec.cut
    found = {
        key: power(values, generated[key], edges_of(key, name, values, cut))
        for key, values in reference.items()
        if values.max() > 0
    }
    log = np.logspace(np.log10(cut), np.log10(cells.max()), 50)
    found["voxel_energy"] = power(cells.flatten(), other.flatten(), log)
    if name == "ds1_photons":
        asked = [part.cond["incident_energy"][:, 0].numpy() for part in (truth, made)]
        for i, low in enumerate(2.0 ** np.arange(8, 23)):
            chosen = [(e >= low) & (e < 2 * low) for e in asked]
            if min(inside.sum() for inside in chosen) >= 30:
                ratios = [
                    part["e_tot_over_e_inc"][inside]
                    for part, inside in zip((reference, generated), chosen, strict=True)
                ]
                edges = np.linspace(0.9, 1.1, 21) if i > 3 else np.linspace(0.4, 1.4, 21)
                found[f"response/{low:g}MeV"] = power(*ratios, edges)
    cancelling = {
        key
        for key in found
        if key.startswith(("ec_eta", "ec_phi"))
        and any(((v != 0) & (abs(v) < 1e-9)).any() for v in (reference[key], generated[key]))
    }
    return {key: value for key, value in found.items() if value == value}, cancelling


@pytest.mark.parametrize(
    ("name", "n", "figures"),
    [
        ("ds1_photons", 1000, 38),
        ("ds2", 150, 362),
        pytest.param("ds3", 150, 350, marks=pytest.mark.grid),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_every_separation_power_is_that_of_the_public_code(name: str, n: int, figures: int) -> None:
    """Centres in eta and phi whose terms cancel may lie on either side of 0: the order of sums decides."""
    module = data.build(composed("data", f"data={name}"))
    judged = module.observables
    assert isinstance(judged, CaloChallengeObservables)
    made, truth = module.batch(n), module.batch(n, "test")
    result = evaluate(truth, made, judged, scores={}, replicas=0, prefix="")
    expected, cancelling = expectations(judged, name, truth, made)
    wrong = {
        key
        for key, value in expected.items()
        if abs(result.metrics[f"separation/{key}"] - value) > 1e-9
    }
    assert len(expected) >= figures
    assert (truth.x.flatten(1)[:, -5:].sum(1) == 0).any()  # the last layer is empty in some
    assert wrong <= cancelling, wrong - cancelling


def test_edges_are_numpys_to_the_last_bit() -> None:
    np.testing.assert_array_equal(even_edges(0, 1, 20), np.linspace(0, 1, 21))
    np.testing.assert_array_equal(even_edges(-30, 30, 100), np.linspace(-30, 30, 101))
    low, high = np.float64(0.5e-3 / 0.033), np.float32(812.3)
    exact = np.logspace(np.log10(low), np.log10(high), 50)
    np.testing.assert_array_equal(even_edges(low, high, 49, log=True), exact)
    axis = Axis("voxel energy", "MeV", 49, float(low), None, log=True)
    values = torch.tensor([3.0, float(high)], dtype=torch.float32)
    np.testing.assert_array_equal(resolve(axis, values), exact)


@pytest.mark.parametrize("cells", [160, 190, 900])
def test_a_sparsity_on_an_edge_is_in_numpys_bin(cells: int) -> None:
    values = 1.0 - np.arange(cells + 1) / cells
    found = histogram(torch.from_numpy(values), resolve(SPARSITY, torch.zeros(1)))
    np.testing.assert_array_equal(found[1:-1], np.histogram(values, np.linspace(0, 1, 21))[0])
