"""Data set 2 in larger voxels: sums, files of both sizes, and a name of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simulacra.core import FormatError, UserError
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons, ds2
from simulacra.formats.pooled import PooledChallenge
from support import spec_of

FORM = PooledChallenge(ds2(), [3, 2, 1])


def test_voxels_hold_the_energy_of_those_they_are_joined_from(tmp_path: Path) -> None:
    fine, path = CaloChallenge(ds2()), tmp_path / "ds2.hdf5"
    fine.toy(path, 3)
    right, found = fine.read(path), FORM.read(path)
    assert found.x.shape == (3, 15, 8, 9)
    assert torch.equal(found.cond["incident_energy"], right.cond["incident_energy"])
    for layer, angle, radius in ((0, 0, 0), (4, 7, 8), (14, 3, 1)):
        cells = right.x[:, 3 * layer : 3 * layer + 3, 2 * angle : 2 * angle + 2, radius]
        torch.testing.assert_close(found.x[:, layer, angle, radius], cells.sum((1, 2)))
    torch.testing.assert_close(found.x.sum((1, 2, 3)), right.x.sum((1, 2, 3)))
    assert FORM.check(path).n == 3
    assert torch.equal(FORM.read(path, 1, 2).x, found.x[1:2])


def test_the_geometry_is_that_of_the_joined_cells() -> None:
    geometry, fine = FORM.spec.geometry, ds2().geometry
    assert geometry is not None
    assert fine is not None
    assert geometry.padded_shape == (15, 8, 9)
    for number, layer in enumerate(geometry.layers):
        inner = fine.layers[3 * number + 1]
        assert layer.id == number
        assert layer.depth == pytest.approx(inner.depth)
        assert layer.edges == (inner.edges[0][::2], inner.edges[1])
        assert layer.periodic == inner.periodic == 0


def test_larger_voxels_are_written_and_read_again(tmp_path: Path) -> None:
    first, again = tmp_path / "first.hdf5", tmp_path / "again.hdf5"
    CaloChallenge(ds2()).toy(first, 2)
    events = FORM.read(first)
    FORM.write(again, events)
    assert torch.equal(FORM.read(again).x, events.x)
    with pytest.raises(FormatError, match=r"expected \('N', 6480\)"):
        CaloChallenge(ds2()).read(again)
    CaloChallenge(ds1_photons()).toy(first, 2)
    with pytest.raises(FormatError, match=r"expected \('N', 1080\)"):
        FORM.read(first)


def test_it_is_a_data_set_of_its_own() -> None:
    spec = spec_of("ds2_coarse", None)
    assert (spec.name, spec.shape) == ("ds2_coarse", (15, 8, 9))
    assert spec.threshold == ds2().threshold


@pytest.mark.parametrize("pool", [[3, 2], [3, 5, 1]])
def test_numbers_of_cells_that_do_not_divide_the_grid_are_refused(pool: list[int]) -> None:
    with pytest.raises(UserError, match="pool="):
        PooledChallenge(ds2(), pool)
    with pytest.raises(UserError, match="need a grid"):
        PooledChallenge(ds1_photons(), [1, 1, 1])
