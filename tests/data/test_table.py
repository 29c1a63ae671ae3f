from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from simulacra.core import Batch, Spec, UserError
from simulacra.data import build
from simulacra.data.base import Loading
from simulacra.data.files import Published
from simulacra.data.table import TableData
from simulacra.physics.table import TableObservables
from support import composed
from table_toys import COLUMNS, form, rows


def configured(**changes: Any) -> TableData:
    merged = OmegaConf.merge(composed("data", "data=table"), {"root": None, **changes})
    data = build(OmegaConf.to_container(merged))  # type: ignore[arg-type]
    assert isinstance(data, TableData)
    return data


def table(loading: Loading, **options: Any) -> TableData:
    public = Published(["toy.csv"], [], "nowhere")
    return TableData("toy", COLUMNS, loading, TableObservables, public, **options)


def own(folder: Path, sizes: dict[str, int], suffix: str = "csv", **options: Any) -> TableData:
    for number, (part, n) in enumerate(sizes.items()):
        form().write(folder / f"{part}.{suffix}", rows(n, number))
    files = {part: [f"{part}.{suffix}"] for part in sizes}
    return table(Loading(256, **options), root=str(folder), files=files)


def test_the_embedded_sample_is_used_and_announced(caplog: pytest.LogCaptureFixture) -> None:
    data = configured()
    assert Spec.from_dict(data.spec.to_dict()) == data.spec
    assert data.spec.shape == (14,)
    with caplog.at_level(logging.WARNING):
        assert data.sizes() == {"train": 9000, "val": 1000, "test": 2500}
    assert "embedded sample of 12,500 Z + jet events by Pythia" in caplog.text
    for part in ("train", "val", "test"):
        data.spec.validate(data.part(part)[range(50)])
    assert data.provenance["source"] == "embedded sample"
    assert {f"{part}/Pythia26_Zjet_pTZ-200GeV.h5" for part in ("train", "test")} < set(
        data.provenance
    )


def test_the_embedded_sample_tells_where_it_comes_from() -> None:
    import h5py

    for path in (*configured().found.train, *configured().found.test):
        with h5py.File(path) as file:
            assert {"generator", "samples", "seeds", "settings", "note"} <= set(file.attrs)
            assert "never quote a score" in file.attrs["note"]


def test_columns_are_left_out_with_null() -> None:
    data = configured(columns={"pt": None, "zg": None})
    assert [field.name for field in data.spec.features][:2] == ["y", "phi"]
    assert data.batch(3).x.shape == (3, 12)


def test_without_a_test_file_a_fifth_is_set_aside_once_and_for_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        data = own(tmp_path, {"train": 200}, seed=1)
        assert data.sizes() == {"train": 144, "val": 16, "test": 40}
    assert "a fifth of the events, by a fixed permutation, is the test part" in caplog.text
    indices = [set(data.part(name).index.tolist()) for name in ("train", "val", "test")]
    assert set.union(*indices) == set(range(200))
    again = own(tmp_path, {"train": 200}, seed=2)
    assert torch.equal(again.part("test").index, data.part("test").index)
    assert torch.equal(data.batch(5, "test").x, rows(200).x[data.part("test").index[:5]])


def test_files_may_be_given_for_every_part(tmp_path: Path) -> None:
    data = own(tmp_path, {"train": 30, "val": 20, "test": 10}, "parquet")
    assert data.sizes() == {"train": 30, "val": 20, "test": 10}
    assert torch.equal(data.batch(20, "val").x, rows(20, 1).x)
    assert torch.equal(data.batch(10, "test").x, rows(10, 2).x)
    assert {"train/train.parquet", "val/val.parquet", "test/test.parquet"} < set(data.provenance)


def test_weights_conditions_and_event_fields_come_along(tmp_path: Path) -> None:
    data = own(tmp_path, {"train": 60, "test": 20})
    batch = data.batch(20, "test")
    assert batch.weight is not None
    assert torch.equal(batch.weight, rows(20, 1).weight)
    assert batch.cond["mode"].dtype == torch.int64
    asked = data.conditions(7, torch.Generator().manual_seed(0))
    assert set(asked.values) == {"energy", "mode", "hits", "kind"}
    assert data.trained_range()["energy"][0] >= 1
    assert data.judged.features(batch).shape == (20, 15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": {"test": ["a.csv"]}}, "takes the lists train, with val and test"),
        ({"files": {"train": ["no.csv"]}}, "do not exist"),
        ({"root": "/nowhere"}, "is not a folder"),
    ],
)
def test_files_that_are_not_there_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(Loading(256), **options).sizes()


def test_a_folder_without_the_sample_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name other files with data.files.train=\[...\]"):
        table(Loading(256), root=str(tmp_path)).sizes()


def test_a_file_of_too_few_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the part val of toy holds no events"):
        own(tmp_path, {"train": 2}).sizes()


@pytest.mark.parametrize("name", ["zjets", "zjets_21", "lhco", "lhco_search", "qg", "calib"])
def test_each_sample_is_whole_says_where_it_is_from_and_has_its_observables(name: str) -> None:
    import h5py

    events = build(composed("data", f"data={name}"))
    for part in ("train", "val", "test"):
        batch = events.batch(2000, part)
        events.spec.validate(batch)
        observables = events.observables(batch)
        assert observables.keys() == events.observables.axes().keys()
        assert all(float(value.isnan().double().mean()) < 0.01 for value in observables.values())
    for path in (*events.found.train, *events.found.test):
        with h5py.File(path) as file:
            assert {"generator", "seeds", "settings"} <= set(file.attrs)
            assert "never quote a score" in file.attrs["note"]


def test_both_tunes_are_the_same_kind_of_event_and_other_events() -> None:
    one, two = (build(composed("data", f"data={name}")) for name in ("zjets", "zjets_21"))
    assert one.spec.with_(name="") == two.spec.with_(name="")
    assert len(one.spec.features) == len(one.spec.conditions) == 8
    assert not torch.equal(one.batch(50, "test").x, two.batch(50, "test").x)


def test_ratios_are_not_defined_where_nothing_is_left() -> None:
    events = build(composed("data", "data=zjets"))
    names = [field.name for field in events.spec.features]
    batch = events.batch(3)
    x = batch.x.clone()
    x[0, names.index("sdm")] = 0
    x[1, names.index("width")] = 0
    found = events.observables(replace(batch, x=x))
    assert found["ln_rho"].isnan().tolist() == [True, False, False]
    assert found["tau21"].isnan().tolist() == [False, True, False]
    pt, sdm = x[2, names.index("pt")], x[2, names.index("sdm")]
    assert float(found["ln_rho"][2]) == pytest.approx(float(2 * (sdm / pt).log()), rel=1e-5)
    fewer = build(composed("data", "data=zjets", "data.columns.sdm=null"))
    assert set(found) - set(fewer.observables(fewer.batch(3))) == {"sdm", "ln_rho"}


def test_masses_of_two_jets_are_those_of_their_momenta() -> None:
    events = build(composed("data", "data=lhco"))
    x = torch.zeros(1, 14)
    # back to back along x, each of energy 5 TeV; masses 3 and 4 TeV
    x[0, [0, 3, 7, 10]] = torch.tensor([4000.0, 3000.0, -3000.0, 4000.0])
    x[0, [4, 5, 11, 12]] = torch.tensor([2.0, 1.0, 1.0, 0.2])
    found = {
        name: float(value)
        for name, value in events.observables(Batch(x, {"label": torch.zeros(1, 1).long()})).items()
    }
    assert found["m_jj"] == pytest.approx((10**2 - 1) ** 0.5, rel=1e-5)
    assert (found["m_light"], found["m_difference"]) == pytest.approx((3.0, 1.0))
    assert (found["tau21_light"], found["tau21_heavy"]) == pytest.approx((0.5, 0.2))


def test_names_of_files_may_begin_with_their_folders(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "jets_qg" / part).mkdir(parents=True)
        (tmp_path / "jets_calib" / part).mkdir(parents=True)
    for name in ("qg", "calib"):
        whole = build(composed("data", f"data={name}"))
        for part in ("train", "test"):
            whole.format.toy(tmp_path / f"jets_{name}" / part / "jets.h5", 20)
    found = build(composed("data", "data=qg", f"data.root={tmp_path}")).found
    assert [path.relative_to(tmp_path).as_posix() for path in (*found.train, *found.test)] == [
        "jets_qg/train/jets.h5",
        "jets_qg/test/jets.h5",
    ]
