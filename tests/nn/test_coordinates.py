"""Coordinates and numbers as maps over grids of one to three axes."""

from __future__ import annotations

import pytest
import torch

from simulacra.nn.coordinates import constant_maps, coordinate_maps


@pytest.mark.parametrize("sizes", [(5,), (3, 4), (4, 2, 3)])
def test_each_map_runs_from_one_end_of_its_axis_to_the_other_and_is_constant_along_others(sizes):
    axes = range(len(sizes))
    maps = coordinate_maps(sizes, axes)
    assert maps.shape == (2 * len(sizes), *sizes)
    for axis in axes:
        for cell in range(sizes[axis]):
            place = -1 + 2 * cell / (sizes[axis] - 1)
            torch.testing.assert_close(
                maps[axis].select(axis, cell), torch.full(sizes[:axis] + sizes[axis + 1 :], place)
            )
    torch.testing.assert_close(maps[len(sizes) :], maps[: len(sizes)] ** 2 - 1 / 3)


def test_only_the_axes_that_are_asked_for_have_maps():
    assert torch.equal(coordinate_maps((2, 3, 4), [2])[0, 0, 0], torch.linspace(-1, 1, 4))
    assert coordinate_maps((2, 3, 4), []).shape == (0, 2, 3, 4)


@pytest.mark.parametrize("sizes", [(5,), (3, 4), (4, 2, 3)])
def test_numbers_fill_every_cell(sizes):
    given = torch.arange(6.0).view(2, 3)
    maps = constant_maps(given, sizes)
    assert maps.shape == (2, 3, *sizes)
    assert torch.equal(maps.flatten(2), given[..., None].expand_as(maps.flatten(2)))
