from __future__ import annotations

import numpy as np
import pytest

from simulacra.core import Geometry, UserError
from simulacra.core.detector import detector
from simulacra.deploy.placing import Placer, drawn, falls, places, points_of

SECTIONS = [{"plates": [["G4_Pb", 10.0]], "active": [0], "repeat": 2, "per_layer": 1}]


def geometry(**cells: object) -> Geometry:
    return detector("d", SECTIONS, [cells]).geometry


POLAR = geometry(axes=["alpha", "r"], counts=[8, 6], sizes=[4.0])
GRID = geometry(axes=["x", "y"], counts=[40, 40], sizes=[5.0, 5.0])


def exponential(n: int, length: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points whose density in the plane falls as exp(-r / length)."""
    r, angle = rng.gamma(2.0, length, n), rng.uniform(-np.pi, np.pi, n)
    return r * np.cos(angle), r * np.sin(angle)


@pytest.mark.parametrize("length", [3.0, 6.0])
def test_places_in_rings_follow_the_density_and_not_the_area(length: float) -> None:
    rng = np.random.default_rng(1)
    radius = np.hypot(*exponential(200_000, length, rng))
    edges = np.array(POLAR.layers[0].edges[1])
    radius = radius[radius < edges[-1]]
    index = np.searchsorted(edges, radius, side="right") - 1
    sums = np.bincount(index, minlength=6).astype(float)
    found = drawn(edges, sums, index, rng, ring=True)
    assert np.all((found >= edges[index]) & (found <= edges[index + 1]))
    flat = np.sqrt(rng.uniform(edges[index] ** 2, edges[index + 1] ** 2))
    assert abs(found.mean() / radius.mean() - 1) < 0.25 * (flat.mean() / radius.mean() - 1)


def test_places_in_cells_of_a_line_follow_an_exponential_exactly() -> None:
    rng = np.random.default_rng(2)
    edges = np.linspace(-30, 30, 7)
    true = rng.laplace(0, 8, 400_000)
    true = true[np.abs(true) < 30]
    index = np.searchsorted(edges, true, side="right") - 1
    sums = np.bincount(index, minlength=6).astype(float)
    assert falls(edges, sums) == pytest.approx(np.full(6, 1 / 8), rel=0.02)
    found = drawn(edges, sums, index, rng)
    assert np.abs(found).mean() == pytest.approx(np.abs(true).mean(), rel=5e-3)


def test_a_density_that_rises_is_spread_evenly() -> None:
    edges = np.linspace(0, 4, 5)
    assert falls(edges, np.array([1.0, 2.0, 4.0, 8.0])).tolist() == [0, 0, 0, 0]
    assert falls(edges, np.array([1.0, 0.0, 0.0, 0.0])).tolist() == [0, 0, 0, 0]
    found = drawn(edges, np.zeros(4), np.full(20_000, 2), np.random.default_rng(0))
    assert found.mean() == pytest.approx(2.5, abs=0.02)


def test_energy_is_kept_and_moves_with_its_particle() -> None:
    rng = np.random.default_rng(3)
    energies = rng.exponential(1.0, (5, POLAR.n_voxels)) * (rng.random((5, POLAR.n_voxels)) < 0.3)
    entry = np.array([[0, 0], [30, -20], [0, 0], [95, 0], [500, 0]], float)
    slope = np.array([[0, 0], [0, 0], [0.5, 0.25], [0, 0], [0, 0]], float)
    direction = np.column_stack([slope, np.ones(5)])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    placed = Placer(POLAR, GRID, [10.0, 50.0]).place(energies, entry, direction, rng)
    total = placed.cells.sum(1) + placed.beside.sum(1)
    assert total == pytest.approx(energies.sum(1))
    assert placed.beside[0].sum() == 0
    assert placed.cells[4].sum() == 0
    assert 0 < placed.beside[3].sum() < energies[3].sum()
    x = np.repeat(GRID.layers[0].centres()[0].numpy(), 40)
    second = placed.cells[2].reshape(2, -1)[1]
    first = placed.cells[2].reshape(2, -1)[0]
    shift = (second * x).sum() / second.sum() - (first * x).sum() / first.sum()
    assert shift == pytest.approx(0.5 * 40, abs=4)


def test_coarse_voxels_are_cut_and_fine_ones_are_not() -> None:
    fine = geometry(axes=["alpha", "r"], counts=[32, 24], sizes=[1.0]).layers[0]
    coarse = geometry(axes=["x", "y"], counts=[4, 4], sizes=[50.0, 50.0]).layers[0]
    assert points_of(fine, GRID.layers[0]) == 1
    assert points_of(GRID.layers[0], GRID.layers[0]) == 4
    assert points_of(coarse, GRID.layers[0]) == 16


def test_angles_of_polar_voxels_are_kept() -> None:
    layer = POLAR.layers[0]
    voxel = np.arange(layer.size).repeat(50)
    x, y = places(layer, np.ones(layer.shape), voxel, np.random.default_rng(0))
    row = ((np.arctan2(y, x) + np.pi) / (2 * np.pi) * 8).astype(int)
    assert np.array_equal(row % 8, voxel // 6)


def test_a_generator_of_another_detector_is_refused() -> None:
    other = detector(
        "d",
        [{**SECTIONS[0], "repeat": 3}],
        [{"axes": ["x", "y"], "counts": [2, 2], "sizes": [5, 5]}],
    )
    with pytest.raises(UserError, match="makes 2 layers, the detector has 3"):
        Placer(POLAR, other.geometry, other.layer_depths)
