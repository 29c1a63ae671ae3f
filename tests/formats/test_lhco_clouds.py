"""Clouds of both jets: what is derived from a file of events, and what is written of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.lhco import LhcoEvents
from simulacra.formats.lhco_clouds import KEPT, LhcoClouds
from simulacra.formats.lhco_search import LhcoSearch
from simulacra.physics.dijet_clouds import DijetCloudObservables

FORM = LhcoClouds()


def event(particles: list[tuple[float, float, float]]) -> Batch:
    """Two jets of 1000 GeV along phi = pi (leading, 200 GeV of mass) and phi = 0 (50 GeV), both at eta 0."""
    x = torch.zeros(1, 700, 3)
    x[0, : len(particles)] = torch.tensor(particles)
    rows = [-1000.0, 0.0, 0.0, 200.0, 0.2, 0.1, 0.05, 1000.0, 0.0, 0.0, 50.0, 0.2, 0.1, 0.05]
    fields = {
        f.name: torch.full((1, 1), v) for f, v in zip(LhcoEvents().spec.event, rows, strict=True)
    }
    return Batch(x, {"label": torch.ones(1, 1, dtype=torch.long)}, fields, x[..., 0] > 0)


def test_particles_are_those_of_the_nearer_jet_relative_to_it(tmp_path: Path) -> None:
    given = [
        (500.0, 0.1, math.pi - 0.1),
        (400.0, -0.1, -math.pi + 0.2),  # beyond the seam, of the heavier jet
        (300.0, 0.3, 0.2),
        (200.0, 0.0, 1.5),  # of none
        (100.0, 2.0, 0.0),  # of none
    ]
    LhcoEvents().write(tmp_path / "a.h5", event(given))
    batch = FORM.read(tmp_path / "a.h5")
    FORM.spec.validate(batch)
    expected = torch.tensor([[0.1, -0.1, 0.5, 1.0], [-0.1, 0.2, 0.4, 1.0], [0.3, 0.2, 0.3, 0.0]])
    torch.testing.assert_close(batch.x[0, :3], expected, atol=1e-5, rtol=0)
    assert batch.mask is not None
    assert int(batch.mask.sum()) == 3 == int(batch.event["num_particles"])
    assert not bool(batch.x[0, 3:].any())
    numbers = [
        float(batch.event[f"{n}_{j}"]) for j in ("light", "heavy") for n in ("pt", "eta", "m")
    ]
    assert numbers == pytest.approx([1.0, 0.0, 0.05, 1.0, 0.0, 0.2])
    energy = math.hypot(1.0, 0.05) + math.hypot(1.0, 0.2)
    assert float(batch.cond["m_jj"]) == pytest.approx(energy, rel=1e-6)
    assert int(batch.event["signal"]) == 1


def test_the_hardest_particles_of_either_jet_are_kept(tmp_path: Path) -> None:
    many = [(100.0 - k, 0.0, math.pi - 0.01) for k in range(70)] + [(5.0, 0.0, 0.1)] * 3
    LhcoEvents().write(tmp_path / "a.h5", event(many))
    batch = FORM.read(tmp_path / "a.h5")
    heavy = batch.x[0, batch.mask[0], 3] == 1
    assert (int(heavy.sum()), int((~heavy).sum())) == (KEPT, 3)
    assert float(batch.x[0, batch.mask[0], 2][heavy].min()) == pytest.approx(
        (100 - KEPT + 1) / 1000
    )


def test_clouds_are_those_of_the_table_and_are_read_as_they_were_written(tmp_path: Path) -> None:
    FORM.toy(tmp_path / "a.h5", 40, 1)
    found, table = FORM.read(tmp_path / "a.h5"), LhcoSearch().read(tmp_path / "a.h5")
    FORM.spec.validate(found)
    assert torch.equal(found.cond["m_jj"], table.cond["m_jj"])
    assert torch.equal(found.event["signal"], table.event["signal"])
    torch.testing.assert_close(found.event["m_light"][:, 0], table.x[:, 0])
    heavy = replace(found, weight=torch.arange(1.0, 41.0))
    FORM.write(tmp_path / "b.h5", heavy[10:30])
    again = FORM.read(tmp_path / "b.h5")
    assert torch.equal(again.x, found.x[10:30])
    assert torch.equal(again.mask, found.mask[10:30])
    assert torch.equal(again.weight, heavy.weight[10:30])
    assert all(torch.equal(again.event[k], found.event[k][10:30]) for k in found.event)
    assert torch.equal(again.cond["m_jj"], found.cond["m_jj"][10:30])
    assert FORM.check(tmp_path / "b.h5").n == 20


def test_generated_particles_are_written_so_that_they_can_be_read(tmp_path: Path) -> None:
    FORM.toy(tmp_path / "a.h5", 5)
    batch = FORM.read(tmp_path / "a.h5")
    x = batch.x.clone()
    x[0, 0, 2:] = torch.tensor([0.0, 2.0])  # no momentum, of a third jet
    FORM.write(tmp_path / "b.h5", replace(batch, x=x))
    again = FORM.read(tmp_path / "b.h5")
    assert torch.equal(again.mask, batch.mask)
    assert float(again.x[0, 0, 3]) == 1
    with pytest.raises(UserError, match="with a mask"):
        FORM.write(tmp_path / "c.h5", replace(batch, mask=None))


@pytest.mark.parametrize(
    ("key", "place", "value", "message"),
    [
        ("particles", (3, 0, 2), -1, "momenta at or above 0"),
        ("particles", (3, 99, 0), 1, "zeros behind"),
        ("signal", 3, 2, "other values than 0 and 1"),
        ("pt_light", 3, -1, "pt_light"),
    ],
)
def test_what_cannot_be_is_refused(
    key: str, place: object, value: float, message: str, tmp_path: Path
) -> None:
    FORM.toy(tmp_path / "a.h5", 5)
    batch = FORM.read(tmp_path / "a.h5")
    x, mask = batch.x.clone(), batch.mask.clone()
    x[:, 60:], mask[:, 60:] = 0, False
    FORM.write(tmp_path / "b.h5", replace(batch, x=x, mask=mask))
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file[key][place] = value
    with pytest.raises(FormatError, match=message):
        FORM.read(tmp_path / "b.h5")


def test_observables_of_particles_are_those_of_their_jet(tmp_path: Path) -> None:
    prongs = [(500.0, 0.0, math.pi - 0.2), (500.0, 0.0, -math.pi + 0.2), (1000.0, 0.0, 0.0)]
    LhcoEvents().write(tmp_path / "a.h5", event(prongs))
    batch = FORM.read(tmp_path / "a.h5")
    observables = DijetCloudObservables(FORM.spec)
    found = observables(batch)
    assert found.keys() == observables.axes().keys()
    # two massless particles of 0.5 TeV at an angle of 0.4: m^2 = 2 * 0.25 * (1 - cos 0.4)
    expected = math.sqrt(0.5 * (1 - math.cos(0.4)))
    assert float(found["kept_m_heavy"]) == pytest.approx(expected, rel=1e-5)
    assert float(found["kept_m_light"]) == pytest.approx(0.0, abs=1e-6)
    assert float(found["width_heavy"]) == pytest.approx(0.2, rel=1e-5)
    counts = [float(found[f"multiplicity_{jet}"]) for jet in ("light", "heavy")]
    assert counts == [1, 2]
    assert bool(found["tau21_light"].isnan().all())
    assert bool(observables.features(batch).isfinite().all())
