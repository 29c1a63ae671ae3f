from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from simulacra.core import Spec, UserError
from simulacra.data import build
from simulacra.data.base import Loading
from simulacra.data.table import TableData
from support import composed
from table_toys import COLUMNS, form, rows


def configured(**changes: Any) -> TableData:
    merged = OmegaConf.merge(composed("data", "data=table"), {"root": None, **changes})
    data = build(OmegaConf.to_container(merged))  # type: ignore[arg-type]
    assert isinstance(data, TableData)
    return data


def own(folder: Path, sizes: dict[str, int], suffix: str = "csv", **options: Any) -> TableData:
    for number, (part, n) in enumerate(sizes.items()):
        form().write(folder / f"{part}.{suffix}", rows(n, number))
    files = {part: [f"{part}.{suffix}"] for part in sizes}
    return TableData("toy", COLUMNS, Loading(256, **options), str(folder), files)


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
    assert {"train/zjets_train.h5", "test/zjets_test.h5"} < set(data.provenance)


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
        TableData("toy", COLUMNS, Loading(256), **options).sizes()


def test_a_folder_without_the_sample_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name other files with data.files.train=\[...\]"):
        TableData("toy", COLUMNS, Loading(256), str(tmp_path)).sizes()


def test_a_file_of_too_few_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the part val of toy holds no events"):
        own(tmp_path, {"train": 2}).sizes()
