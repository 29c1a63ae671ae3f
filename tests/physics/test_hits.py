"""Sums over hits against plain loops over voxels."""

from __future__ import annotations

import pytest
import torch

from simulacra import data
from simulacra.core import Geometry
from simulacra.physics.hits import BLOCK, Hits
from support import composed


def geometry(name: str) -> Geometry:
    found = data.build(composed("data", f"data={name}")).native_spec.geometry
    assert found is not None
    return found


def showers(cells: Geometry, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, cells.n_voxels, generator=generator).exp()
    return torch.where(torch.rand(x.shape, generator=generator) < 0.9, 0.0, x)


@pytest.mark.parametrize("name", ["ds1_photons", "ds2", "calogan"])
def test_sums_over_layers_and_groups_are_those_of_a_loop(name: str) -> None:
    cells, cut = geometry(name), 0.4
    x = showers(cells, 9)
    x[3] = 0
    hits = Hits.of(x, cells, cut)
    kept = torch.where(x >= cut, x, 0.0).double()
    functions = torch.randn(cells.n_voxels, 3, dtype=torch.float64)
    moments, counts = hits.moments(functions), torch.from_numpy(hits.counts)
    group = torch.arange(cells.n_voxels) % 5
    grouped = hits.grouped(group, 5)
    start = 0
    for number, size in enumerate(cells.sizes):
        part = kept[:, start : start + size]
        torch.testing.assert_close(moments[:, number], part @ functions[start : start + size])
        assert torch.equal(counts[:, number], (part > 0).sum(1))
        start += size
    for number in range(5):
        torch.testing.assert_close(grouped[:, number], kept[:, group == number].sum(1))
    torch.testing.assert_close(hits.summed(cells.n_voxels), kept.sum(0))
    ragged = hits.ragged()
    assert torch.equal(ragged.values, x[x >= cut])
    assert int(ragged.counts[3]) == 0


def test_without_a_cut_empty_voxels_are_no_hits() -> None:
    cells = geometry("calogan")
    x = showers(cells, 4)
    assert torch.equal(Hits.of(x, cells, 0.0).ragged().values, x[x > 0])


def test_blocks_of_showers_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = geometry("ds2")
    x = showers(cells, 7)
    whole = Hits.of(x, cells, 0.1)
    assert 7 * cells.n_voxels < BLOCK
    monkeypatch.setattr("simulacra.physics.hits.BLOCK", 2 * cells.n_voxels)
    parts = Hits.of(x, cells, 0.1)
    for name in ("energy", "voxel", "counts"):
        assert (getattr(whole, name) == getattr(parts, name)).all()
    assert len(Hits.of(x[:0], cells, 0.1).counts) == 0
