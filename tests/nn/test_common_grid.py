"""Layers of different binnings on one grid: nothing is lost, sums are kept, areas share out."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Geometry, Layer, UserError
from simulacra.nn.common_grid import CommonGrid
from support import spec_of


def geometry_of(name: str) -> Geometry:
    found = spec_of(name, None).geometry
    assert found is not None
    return found


def layer(rows: list[float], cols: list[float], axes=("alpha", "r"), periodic=None) -> Layer:
    return Layer(0, axes, (tuple(map(float, rows)), tuple(map(float, cols))), 0.0, periodic)


def showers(geometry: Geometry, n: int = 3) -> torch.Tensor:
    return torch.rand(n, geometry.n_voxels, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [  # the first two: arXiv:2308.03876, section 3.3
        ("ds1_photons", (5, 10, 30)),
        ("ds1_pions", (7, 10, 23)),
        ("calogan", (3, 12, 96)),
        ("ds2", (45, 16, 9)),
    ],
)
def test_before_training_the_way_back_is_exact_and_the_grid_keeps_the_sum_of_each_layer(
    name: str, shape: tuple[int, int, int]
):
    geometry = geometry_of(name)
    grid, x = CommonGrid(geometry), showers(geometry)
    spread = grid(x)
    assert spread.shape == (3, *shape) == (3, *grid.shape)
    torch.testing.assert_close(spread.sum((2, 3)), geometry.layer_sums(x))
    torch.testing.assert_close(grid.back(spread), x, rtol=1e-5, atol=1e-5)
    assert (len(list(grid.parameters())) == 0) is geometry.regular


def test_cells_are_shared_out_by_area_over_rings_and_by_length_in_a_box():
    fine = [0, 1, 2, 3]
    for axes, shares in ((("alpha", "r"), [1 / 9, 3 / 9, 5 / 9]), (("x", "y"), [1 / 3] * 3)):
        grid = CommonGrid(Geometry((layer([0, 1], [0, 3], axes), layer([0, 0.25, 1], fine, axes))))
        x = torch.zeros(1, 7)
        x[0, 0] = 1.0
        rows = torch.tensor([0.25, 0.75])
        expected = rows[:, None] * torch.tensor(shares)
        torch.testing.assert_close(grid(x)[0, 0], expected)
        assert not grid(x)[0, 1].any()


def test_a_layer_without_angles_comes_back_as_the_sum_over_all_of_them():
    grid = CommonGrid(Geometry((layer([0, 4], [0, 1]), layer([0, 1, 2, 3, 4], [0, 1]))))
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    made = grid.back(torch.stack([values, values])[None, ..., None])
    torch.testing.assert_close(made, torch.tensor([[10.0, 1.0, 2.0, 3.0, 4.0]]))


def test_copied_values_keep_their_size_and_come_back():
    geometry = geometry_of("ds1_photons")
    grid, x = CommonGrid(geometry, copied=True), showers(geometry)
    torch.testing.assert_close(grid.back(grid(x)), x)
    ones = grid(torch.ones(1, geometry.n_voxels))
    assert set(ones.detach().unique().tolist()) == {0.0, 1.0}
    assert bool((ones[0, :, :, 0] == 1).all())


def test_edges_that_differ_by_rounding_are_one_and_layers_may_end_early():
    grid = CommonGrid(Geometry((layer([0, 1], [0, 1, 2]), layer([0, 1], [0, 1 + 1e-9, 2, 5]))))
    assert grid.shape == (2, 1, 3)
    made = grid(torch.ones(1, 5))
    assert made[0, 0, 0].tolist() == [1, 1, 0]


def test_the_axis_that_closes_on_itself_is_that_of_the_layers_with_cells_along_it():
    assert CommonGrid(geometry_of("ds1_photons")).periodic == 1
    assert CommonGrid(geometry_of("calogan")).periodic is None
    closed = [layer([0, 1, 2], [0, 1], periodic=0), layer([0, 1], [0, 1, 2], periodic=1)]
    with pytest.raises(UserError, match="different axes have no common grid"):
        CommonGrid(Geometry(tuple(closed)))
