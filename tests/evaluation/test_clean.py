"""Raw output of somebody else's generator: cut as public evaluations do, counted and said, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from raw_files import (
    JETS,
    SHOWERS,
    Totals,
    centred,
    everything,
    made,
    noisy,
    opened,
    raw_jets,
    set_cell,
    soft,
)
from simulacra.cli.main import main
from simulacra.core import Batch, FormatError
from simulacra.evaluation import files
from simulacra.evaluation.files import open_judged
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.pxd import PxdFormat, pxd
from simulacra.metrics.engine import sample


@pytest.mark.parametrize("name", SHOWERS)
def test_negative_values_are_refused_by_name_of_the_option_or_cut_and_counted(
    name: str, tmp_path: Path
) -> None:
    form, key = SHOWERS[name]
    path = made(form, tmp_path / "raw.hdf5")
    before = form.read(path)
    set_cell(path, key, 2, -1e-3)
    set_cell(path, key, 5, -2.0)
    with pytest.raises(FormatError, match=r"negative.*first in event 2.*evaluation\.clean=true"):
        opened(form, path)
    with pytest.raises(FormatError) as strict:
        form.read(path)
    assert "clean" not in str(strict.value)  # what is trained on is not cleaned
    found = opened(form, path, clean=True)
    after = found.events[range(len(found.events))]
    assert float(after.x.min()) >= min(0.0, float(before.x.min()))
    others = [0, 1, 3, 4, 6, 7]
    assert torch.equal(after[others].x, before[others].x)
    figures = found.cut.figures()
    assert found.cut.cleaning.changed["negative values set to 0"] == 2
    assert {event for _, event in found.cut.cleaning.events} == {2, 5}
    assert found.cut.cleaning.energy == pytest.approx(2.001)
    assert figures["test/cut/events"] >= 2
    text = found.cut.text()
    assert text is not None
    assert "2 negative values set to 0 (down to -2), in 2 of 8 events" in text


@pytest.mark.parametrize("name", [name for name, (form, _) in SHOWERS.items() if form.spec.cut])
def test_negative_rounding_is_cut_and_said_in_any_case(name: str, tmp_path: Path) -> None:
    form, key = SHOWERS[name]
    path = made(form, tmp_path / "raw.hdf5")
    set_cell(path, key, 3, -2e-13)
    found = opened(form, path)
    assert found.cut.changed
    assert found.cut.cleaning.lowest == pytest.approx(-2e-13)
    form.spec.validate(found.events[range(8)])


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_never_cleaned(value: float, clean: bool, tmp_path: Path) -> None:
    form, key = SHOWERS["ds1_photons"]
    path = made(form, tmp_path / "raw.hdf5")
    set_cell(path, key, 1, value)
    with pytest.raises(FormatError, match="NaN or infinite values, first in event 1"):
        opened(form, path, clean)


def test_cells_below_the_cut_are_counted_and_stay_what_they_are(tmp_path: Path) -> None:
    form = CaloChallenge(ds1_photons())
    path = tmp_path / "raw.hdf5"
    showers = np.zeros((3, 368), np.float32)
    showers[0, :3], showers[1, 7], showers[2, 9] = [0.5, 0.25, 100.0], 1.0, 99.25
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.full((3, 1), 256.0), showers
    found = opened(form, path)
    assert found.cut.figures() == {
        "test/cut/values": 2.0,
        "test/cut/events": 1.0,
        "test/cut/energy": pytest.approx(0.75 / 201),
    }
    assert "2 values below the cut of 1 MeV count as zero" in (found.cut.text() or "")
    assert np.array_equal(found.events[range(3)].x.numpy(), showers)
    assert not found.cut.changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (soft, r"the mask of particles holds 0\.98"),
        (centred, "the mask of particles holds 0.5"),
        (noisy, "outside the mask must be exactly 0"),
        (everything, "the mask of particles"),
    ],
)
def test_soft_masks_and_padding_of_jets_give_the_jets_that_were_meant(
    change: Callable[[np.ndarray], None], message: str, tmp_path: Path
) -> None:
    JETS.toy(tmp_path / "t.hdf5", 6)
    meant = JETS.read(tmp_path / "t.hdf5")
    path = raw_jets(tmp_path / "raw_t.hdf5", change)
    with pytest.raises(FormatError, match=rf"{message}.*evaluation\.clean=true"):
        opened(JETS, path)
    found = opened(JETS, path, clean=True)
    batch = found.events[range(6)]
    assert torch.equal(batch.x, meant.x)
    assert batch.mask is not None
    assert meant.mask is not None
    assert torch.equal(batch.mask, meant.mask)
    assert found.cut.figures()["test/cut/events"] > 0


def test_a_slightly_negative_momentum_is_zero(tmp_path: Path) -> None:
    def change(particles: np.ndarray) -> None:
        particles[4, 1, 2] = -1e-6

    path = raw_jets(tmp_path / "raw_t.hdf5", change)
    with pytest.raises(FormatError, match=r"first in event 4.*evaluation\.clean=true"):
        opened(JETS, path)
    found = opened(JETS, path, clean=True)
    assert found.events[range(6)].x[4, 1, 2] == 0
    assert found.cut.figures() == {"test/cut/values": 1.0, "test/cut/events": 1.0}


def test_particles_of_negative_energy_are_none(tmp_path: Path) -> None:
    form = JetClassFormat(jetclass(["QCD"]), ["QCD"])
    path = made(form, tmp_path / "jets.hdf5")
    with h5py.File(path, "a") as file:
        file["part_energy"][3, 0] = -0.5
    with pytest.raises(FormatError, match=r"'part_energy' holds negative.*evaluation\.clean=true"):
        opened(form, path)
    before = int((h5py.File(path)["part_energy"][3] > 0).sum())
    batch = opened(form, path, clean=True).events[range(8)]
    assert batch.mask is not None
    assert int(batch.mask[3].sum()) == before


def test_charges_end_where_the_converter_ends(tmp_path: Path) -> None:
    form = PxdFormat(pxd(["1.1.1"]))
    path = made(form, tmp_path / "raw.hdf5", 2)
    with h5py.File(path, "a") as file:
        charge = file["charge"][:].astype(np.uint16)
        charge[-1] = 300
        del file["charge"]
        file["charge"] = charge
    with pytest.raises(FormatError, match=r"'charge' holds 300.*255.*evaluation\.clean=true"):
        opened(form, path)
    found = opened(form, path, clean=True)
    assert float(found.events[range(2)].x.max()) == 255
    assert {event for _, event in found.cut.cleaning.events} == {1}


def test_a_file_that_is_read_in_pieces_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulacra.evaluation.files.IN_MEMORY", 16 * 368 * 3)
    form, key = SHOWERS["ds1_photons"]
    path = made(form, tmp_path / "raw.hdf5")
    set_cell(path, key, 7, -1e-3)
    found = opened(form, path, clean=True)
    for _ in range(2):
        assert float(found.events[range(6, 8)].x.min()) == 0
    assert found.cut.cleaning.changed["negative values set to 0"] == 1
    assert {event for _, event in found.cut.cleaning.events} == {7}


def test_evaluate_judges_raw_output_after_saying_what_it_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form, key = SHOWERS["ds1_photons"]
    reference = made(form, tmp_path / "reference.hdf5", 60)
    path = made(form, tmp_path / "raw.hdf5", 60)
    set_cell(path, key, 7, -2e-13)
    small = ["evaluation=quick", "evaluation.draw=false", "evaluation.replicas=2"]
    asked = [f"reference={reference}", f"generated={path}", f"output={tmp_path / 'out'}", *small]
    main(["evaluate", *asked])
    said = [line for line in capsys.readouterr().err.splitlines() if "public evaluations" in line]
    assert len(said) == 2  # of the reference, too
    assert said[1].startswith(str(path))
    assert "1 negative values set to 0 (down to -2e-13), in 1 of 60 events" in said[1]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    notes = json.loads((tmp_path / "out" / "notes.json").read_text())
    assert metrics["test/cut/values"] > 1
    assert "-2e-13" in notes["test/cut/generated"]
    set_cell(path, key, 7, -1e-3)
    with pytest.raises(SystemExit):
        main(["evaluate", *asked, "overwrite=true"])
    assert "evaluation.clean=true" in capsys.readouterr().err
    main(["evaluate", *asked, "overwrite=true", "evaluation.clean=true"])
    assert "(down to -0.001)" in capsys.readouterr().err
    main(["evaluate", f"reference={path}", "evaluation.clean=true"])  # which is checked alone
    said = capsys.readouterr()
    assert "1 negative values set to 0 (down to -0.001), in 1 of 60 events" in said.err
    assert "60 events" in said.out


def test_particles_of_negative_energy_of_a_root_tree_are_none(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    awkward = pytest.importorskip("awkward")
    form = JetClassFormat(jetclass(["QCD"]), ["QCD"])
    whole = form.read(made(form, tmp_path / "jets.h5"))
    form.write(tmp_path / "whole.root", whole)
    with uproot.open(tmp_path / "whole.root") as file:
        arrays = file["tree"].arrays()
        origin = str(file["provenance"])
    energy = arrays["part_energy"].to_list()
    energy[3][1], energy[6][0] = -0.5, -2.0
    path = tmp_path / "raw.root"
    with uproot.recreate(path) as file:
        columns = {key: arrays[key] for key in arrays.fields if not key.startswith("npart")}
        columns["part_energy"] = awkward.values_astype(awkward.Array(energy), np.float32)
        file.mktree("tree", {key: value.type.content for key, value in columns.items()})
        file["tree"].extend(columns)
        file["provenance"] = origin
    with pytest.raises(FormatError, match=r"'part_energy' holds negative.*event 3.*clean=true"):
        opened(form, path)
    found = opened(form, path, clean=True)
    batch = found.events[range(8)]
    assert batch.mask is not None
    assert whole.mask is not None
    assert (whole.mask.sum(1) - batch.mask.sum(1)).tolist() == [0, 0, 0, 1, 0, 0, 1, 0]
    assert not batch.mask[3, 1]
    assert (batch.x[3, 1] == 0).all()
    assert found.cut.cleaning.changed["negative values set to 0"] == 2


def test_a_file_that_does_not_fit_is_read_once_and_a_fault_at_its_end_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, key = SHOWERS["ds1_photons"]
    path = made(form, tmp_path / "raw.hdf5")
    whole = open_judged(form, str(path), None, Totals(form.spec))
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    monkeypatch.setattr(sample, "CHUNK_VALUES", 3 * form.spec.n_voxels)
    read, parts = CaloChallenge.read, []

    def counted(self: CaloChallenge, path: str, start: int = 0, stop: int | None = None) -> Batch:
        parts.append((start, stop))
        return read(self, path, start, stop)

    monkeypatch.setattr(CaloChallenge, "read", counted)
    opened_again, reduced = open_judged(form, str(path), None, Totals(form.spec))
    assert parts == [(0, 3), (3, 6), (6, 8)]
    assert (opened_again.cut.n, opened_again.cut.below) == (8, whole[0].cut.below)
    assert torch.equal(reduced.sample.features, whole[1].sample.features)
    assert torch.equal(
        reduced.sample.cond["incident_energy"], form.read(path).cond["incident_energy"]
    )
    set_cell(path, key, 7, float("nan"))
    with pytest.raises(FormatError, match="NaN or infinite values, first in event 7"):
        open_judged(form, str(path), None, Totals(form.spec))
