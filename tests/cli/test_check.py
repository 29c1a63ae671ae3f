"""What ``simulacra check`` says of files of events, of checkpoints, of exported generators and of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from simulacra import data as datasets
from simulacra.cli.check import check
from simulacra.cli.evaluate import evaluate
from simulacra.core import FormatError, UserError
from simulacra.data.files import embedded_folder
from simulacra.deploy.export.ports import Port
from simulacra.deploy.export.sidecar import JSON, Sidecar
from simulacra.evaluation.config import compose
from simulacra.evaluation.inspection import inspect_file
from simulacra.evaluation.recognition import recognise, variants
from simulacra.formats.base import Format
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from simulacra.formats.lhco import LhcoFeatures
from simulacra.training import zoo
from simulacra.training.checkpoint import build
from support import composed, data_configs, save, spec_of, tiny

EMBEDDED = {
    "calogan": "calogan/eplus.hdf5",
    "ds1_photons": "ds1_photons/dataset_1_photons_1.hdf5",
    "ds2": "ds2/dataset_2_1.hdf5",
    "ds3": "ds3/dataset_3_1.hdf5",
    "events": "events/ttbar_test.h5",
    "ild": "ild/showers-1k.hdf5",
    "ild_cloud": "ild_cloud/10-90GeV_x36_grid_regular_sample.hdf5",
    "jetclass": "jetclass/HToBB_000.h5",
    "jetnet150": "jetnet150/t150.hdf5",
    "jetnet30": "jetnet30/t.hdf5",
    "jetnet30 data.classes=[g]": "jetnet30/g.hdf5",
    "table": "zjets/test/Pythia26_Zjet_pTZ-200GeV.h5",
}
QUICK = ("ds3", "jetnet30 data.classes=[g]")
"""Of these, recognised by default: by shapes, and by a setting."""


def asked(path: Path | str, *more: str) -> Any:
    return compose("check", [str(path), "models=false", *more])


@pytest.fixture
def showers(tmp_path: Path) -> Path:
    """Sixty toy showers of data set 1."""
    path = tmp_path / "showers.hdf5"
    CaloChallenge(ds1_photons()).toy(path, 60)
    return path


def change(path: Path, key: str, event: int, value: float) -> None:
    with h5py.File(path, "r+") as file:
        file[key][event, 3] = value


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.grid) for name in EMBEDDED],
)
def test_an_embedded_sample_is_recognised(name: str) -> None:
    assert recognise(embedded_folder(EMBEDDED[name]))[0].name == name


def test_files_are_recognised_by_what_they_hold(tmp_path: Path) -> None:
    lhco = tmp_path / "features.h5"
    LhcoFeatures().toy(lhco, 20)
    assert [item.name for item in recognise(lhco)] == ["lhco", "lhco_search"]
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["counts"] = np.zeros((5, 3))
    with pytest.raises(FormatError, match=r"no data set reads it, it holds counts \(5, 3\)"):
        recognise(other)
    with pytest.raises(FormatError, match="there is no such file"):
        recognise(tmp_path / "nothing.h5")


@pytest.mark.parametrize("name", [n for n, c in data_configs().items() if c.get("variants")])
def test_variants_of_a_data_set_can_be_built_as_they_are_typed(name: str) -> None:
    found = list(variants(name, data_configs()[name]))
    assert found
    for typed, config in found:
        module = datasets.build(config)
        assert module.spec.name
        chosen = composed("data", *f"data={typed}".split())
        assert datasets.build(chosen).spec == module.spec


def test_a_sound_file_is_described(showers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(asked(showers, "data=ds1_photons")) == {"events": 60, "sound": 60}
    text = capsys.readouterr().out
    assert "60 events, data=ds1_photons (CaloChallenge): layers of shape (368,) [MeV]" in text
    assert "key showers (60, 368) float32" in text
    with h5py.File(showers) as file:
        x, energy = file["showers"][:], file["incident_energies"][:]
    assert f"incident_energy: {energy.min():.6g} to {energy.max():.6g} MeV" in text
    total, hits = x.sum(1), (x > ds1_photons().cut).sum(1)
    assert f"energy: {total.min():.4g} to {total.max():.4g} MeV, mean {total.mean():.4g}" in text
    assert f"hits: {hits.min():.4g} to {hits.max():.4g}, mean {hits.mean():.4g}" in text


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN or infinite values"), (np.inf, "NaN"), (-5.0, "negative")]
)
def test_strange_events_are_counted_then_refused(
    showers: Path, capsys: pytest.CaptureFixture[str], value: float, kind: str
) -> None:
    for event in (50, 7, 8, 9, 20, 21):
        change(showers, "showers", event, value)
    with pytest.raises(
        FormatError, match=rf"{kind}.* in events 6 \(number 7, 8, 9, 20, 21, \.\.\.\)"
    ):
        check(asked(showers, "data=ds1_photons"))
    assert "energy over incident energy" in capsys.readouterr().out  # of the others
    form = CaloChallenge(ds1_photons())
    found = inspect_file(form, showers, 60, 10)
    assert found.sound == 54
    assert found.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12]
    assert bool(torch.isfinite(found.numbers["visible"].values).all())


def test_events_count_once_in_whatever_chunks_they_are_read(
    showers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for event in (0, 6, 7, 59):
        change(showers, "showers", event, np.nan)
    change(showers, "showers", 7, -3)
    form = CaloChallenge(ds1_photons())
    whole = inspect_file(form, showers, 60, 60)
    monkeypatch.setattr(Format, "chunk", 7)
    parts = inspect_file(form, showers, 60, 60)
    for found in (whole, parts):
        assert {
            kind: str(tally) for kind, tally in found.strange.items() if kind in found.refused
        } == {
            "NaN or infinite values": "3 (number 0, 6, 59)",
            "negative values": "1 (number 7)",
        }
    assert parts.fields == whole.fields
    assert parts.positions.tolist() == whole.positions.tolist()
    assert torch.equal(parts.numbers["hits"].values, whole.numbers["hits"].values)


def test_empty_showers_and_too_bright_ones_are_told(
    showers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(showers, "r+") as file:
        file["showers"][4] = 0
        file["showers"][5] *= 1000
    check(asked(showers, "data=ds1_photons"))
    text = capsys.readouterr().out
    assert "events without any hit: 1 (number 4)" in text
    assert "their incident energy: 1 (number 5)" in text


def test_evaluate_of_one_file_says_the_same(
    showers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(asked(showers, "data=ds1_photons"))
    first = capsys.readouterr().out
    assert evaluate(compose("evaluate", [f"reference={showers}"])) == {"events": 60}
    assert capsys.readouterr().out == first
    change(showers, "showers", 3, -5.0)
    with pytest.raises(FormatError, match=r"evaluation\.clean=true"):
        evaluate(compose("evaluate", [f"reference={showers}"]))
    evaluate(compose("evaluate", [f"reference={showers}", "evaluation.clean=true"]))
    change(showers, "showers", 3, np.nan)
    with pytest.raises(FormatError, match="NaN"):
        evaluate(compose("evaluate", [f"reference={showers}", "evaluation.clean=true"]))


def test_pages_are_drawn_where_they_are_asked_for(showers: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    change(showers, "showers", 2, np.nan)
    before = set(tmp_path.iterdir())
    line = ["data=ds1_photons", f"output={pages}", "events=30"]
    with pytest.raises(FormatError):
        check(asked(showers, *line))
    assert set(tmp_path.iterdir()) - before == {pages}
    names = {path.name for path in pages.iterdir()}
    assert {"images.png", "observables_1.png"} <= names
    with pytest.raises(UserError, match="is there already"):
        check(asked(showers, *line))


def test_a_file_of_another_data_set_is_refused_in_one_sentence(showers: Path) -> None:
    with pytest.raises(FormatError, match=r"key 'showers' has shape \(60, 368\)"):
        check(asked(showers, "data=ds2"))
    showers.write_bytes(showers.read_bytes()[:3000])
    with pytest.raises(FormatError, match="damaged"):
        check(asked(showers))


def test_weights_are_told(showers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(showers, "r+") as file:
        file["weight"] = np.linspace(0.5, 1.5, 60)
    check(asked(showers, "data=ds1_photons"))
    assert "event weights: 0.5 to 1.5, sum 60" in capsys.readouterr().out


def test_a_checkpoint_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny("table_flow")
    module = build(config, spec_of("table", None))
    module.record.trained_range = {"pt": (10.0, 20.0)}
    module.record.provenance = {"source": "embedded sample"}
    path = save(module, config, tmp_path)
    count = sum(item.numel() for item in module.parameters())
    assert check(asked(path)) == {"parameters": count}
    text = capsys.readouterr().out
    assert f"{path}: table_flow" in text
    assert f"{count:,} parameters" in text
    assert "source: embedded sample" in text
    assert "data sets that fit: " in text


def test_an_exported_generator_is_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = (Port("energy", (1,), "condition", "MeV", 1.0, 2.0),)
    card = Sidecar("plain", "onnx", "model.onnx", None, ports, ports, 16)
    (tmp_path / JSON).write_text(card.table({}))
    for path in (tmp_path, tmp_path / JSON):
        assert check(asked(path)) == {"inputs": 1, "outputs": 1}
        assert "contract plain" in capsys.readouterr().out


def test_the_zoo_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(asked("zoo:")) == {"members": len(zoo.members())}
    assert f"{len(zoo.members())} models in the zoo" in capsys.readouterr().out


def test_without_a_file_it_says_how_it_is_called() -> None:
    with pytest.raises(UserError, match="simulacra check FILE"):
        check(compose("check"))
