from __future__ import annotations

import builtins
import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, Spec, UserError
from simulacra.evaluation.outputs import check_output
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from table_toys import COLUMNS, form, rows

SUFFIXES = ("h5", "csv", "parquet")


def same(one: Batch, two: Batch) -> None:
    assert torch.equal(one.x, two.x)
    assert one.cond.keys() == two.cond.keys()
    assert one.event.keys() == two.event.keys()
    for name, value in {**one.cond, **one.event}.items():
        other = {**two.cond, **two.event}[name]
        assert value.dtype == other.dtype
        assert torch.equal(value, other)
    for mine, yours in ((one.weight, two.weight), (two.weight, one.weight)):
        assert mine is None or (yours is not None and torch.equal(mine, yours))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_come_back_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    table, events, path = form(), rows(700), tmp_path / f"rows.{suffix}"
    with table.writer(path, {"generator": "toy"}) as writer:
        writer.append(events[:300])
        writer.append(events[300:])
    same(table.read(path), events)
    same(table.read(path, 250, 460), events[250:460])
    same(Batch.cat(list(table.iterate(path, 64))), events)
    assert max(len(batch) for batch in table.iterate(path, 64)) <= 64
    kind = table.of(path)
    parts = [kind.decode(part, path) for part in kind.cells(path, 250, 460, 64, kind.table)]
    same(Batch.cat(parts), events[250:460])
    assert len(table.read(path, 5, 5)) == 0
    info = table.check(path)
    assert info.n == 700
    assert set(info.ranges) == {"energy", "hits"}
    assert info.ranges["energy"][0] == float(events.cond["energy"].min())
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_toy_is_what_the_format_promises(suffix: str, tmp_path: Path) -> None:
    table = form()
    assert table.toy(tmp_path / f"toy.{suffix}", 200).n == 200
    table.check(tmp_path / f"toy.{suffix}")
    other = table.read(tmp_path / f"toy.{suffix}")
    assert not torch.equal(other.x, form().of("x.h5").toy_rows(200, 1).x)  # type: ignore[attr-defined]


def test_the_spec_holds_features_conditions_event_fields_and_no_weight() -> None:
    spec = form().spec
    assert [field.name for field in spec.features] == [
        "pt", "eta", "phi", "share", "tracks", "flavour",
    ]  # fmt: skip
    assert [field.name for field in spec.conditions] == ["energy", "mode"]
    assert [field.name for field in spec.event] == ["hits", "kind"]
    assert not spec.signed
    assert form(w={"role": "weight", "low": -1.0}).spec.signed
    assert Spec.from_dict(spec.to_dict()) == spec


def test_an_hdf5_file_has_the_layout_of_the_keys(tmp_path: Path) -> None:
    table, events = form(eta={"key": "jets", "index": 3}), rows(20)
    table.write(tmp_path / "a.h5", events, {"generator": "toy"})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["generator"] == "toy"
        assert file["jets"].shape == (20, 4)
        assert np.array_equal(file["jets"][:, 1], events.x[:, 0].numpy())
        assert np.isnan(file["jets"][:, [0, 2]]).all()
        assert file["groomed/share"].shape == (20,)
        assert set(file["flavour"][:].tolist()) <= {21.0, 1.0, -1.0}
        assert sorted(file) == sorted(
            {
                "jets",
                "phi",
                "groomed",
                "tracks",
                "flavour",
                "weight",
                "energy",
                "mode",
                "hits",
                "kind",
            }
        )
    same(table.read(tmp_path / "a.h5"), events)


def test_a_csv_file_is_plain_text_for_everyone(tmp_path: Path) -> None:
    table, events = form(kind={"use": "event", "classes": ["up, left", "down"]}), rows(20)
    table.write(tmp_path / "a.csv", events)
    with (tmp_path / "a.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["jets[1]"]) for line in lines] == pytest.approx(events.x[:, 0].tolist())
    assert {line["kind"] for line in lines} == {"up, left", "down"}
    same(table.read(tmp_path / "a.csv"), events)


def test_a_parquet_file_knows_where_it_comes_from(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    table = form(kind={"use": "event", "classes": ["up", "down"]})
    table.write(tmp_path / "a.parquet", rows(20), {"generator": "toy"})
    schema = parquet.read_schema(tmp_path / "a.parquet")
    assert schema.metadata[b"generator"] == b"toy"
    assert str(schema.field("kind").type) == "string"
    same(table.read(tmp_path / "a.parquet"), rows(20))


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"simulacra\[table\]"):
        form().read(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"simulacra\[table\]"):
        form().writer(tmp_path / "b.parquet")


def test_further_columns_and_empty_lines_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,x, y\n\nfirst, 1.5 ,2\n\nsecond,-3,4e1\n", encoding="utf-8-sig")
    table = TableFiles("own", columns_of({"y": {}, "x": {}}))
    assert table.read(path).x.tolist() == [[2.0, 1.5], [40.0, -3.0]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_stand_in_their_column(suffix: str, tmp_path: Path) -> None:
    events = replace(rows(30), weight=None)
    form().write(tmp_path / f"a.{suffix}", events)
    read = form().read(tmp_path / f"a.{suffix}")
    assert read.weight is not None
    assert torch.equal(read.weight, torch.ones(30))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_need_no_column_that_is_named(suffix: str, tmp_path: Path) -> None:
    table, path, events = form(w=None), tmp_path / f"a.{suffix}", rows(30)
    for given in (events, replace(events, weight=None)):
        with table.writer(path) as writer:
            writer.append(given[:20])
            writer.append(given[20:])
        same(table.read(path), given)
        same(table.read(path, 10, 30), given[10:])
        assert table.check(path).n == 30
        assert [len(part) for part in table.iterate(path, 25)] == [25, 5]
    table.write(path, replace(events, weight=None))
    assert table.read(path, 3, 3).weight is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_are_refused_where_something_else_has_their_name(
    suffix: str, tmp_path: Path
) -> None:
    table = form(w=None, share={"key": "weight", "low": 0.0, "high": 0.5})
    with pytest.raises(UserError, match="no column with the role 'weight'"):
        table.write(tmp_path / f"b.{suffix}", rows(30))
    assert not (tmp_path / f"b.{suffix}").exists()
    table.write(tmp_path / f"b.{suffix}", replace(rows(30), weight=None))
    assert table.read(tmp_path / f"b.{suffix}").weight is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_negative_weights_need_a_column_that_says_so(suffix: str, tmp_path: Path) -> None:
    path, events = tmp_path / f"a.{suffix}", rows(30)
    signed = form(w={"key": "weight", "role": "weight", "low": -10.0})
    signed.write(path, replace(events, weight=-events.weight))
    with pytest.raises(FormatError, match="weight"):
        form(w=None).read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_fails_is_not_left_behind(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    form().write(path, rows(10))
    before = path.read_bytes()

    def interrupted() -> None:
        with form().writer(path) as writer:
            writer.append(rows(10, seed=1))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_full_disk_is_said_and_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    class Full:
        def __init__(self, file: Any) -> None:
            self.close = file.close

        def write(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

        write_table = write

    def filled() -> None:
        with form().writer(tmp_path / f"a.{suffix}") as writer:
            writer.file = Full(writer.file)  # type: ignore[attr-defined]
            writer.append(rows(10))

    with pytest.raises(UserError, match="No space left on device"):
        filled()
    assert os.listdir(tmp_path) == []


CASES: list[tuple[str, str, str]] = [
    ("x,n,c\n1,2,a\nnan,2,a\n", "csv", "column 'x' holds nan in row 1, expected finite numbers"),
    ("x,n,c\n1e99,2,a\n", "csv", "column 'x' holds inf in row 0, expected finite numbers"),
    ("x,n,c\n1,2,a\n,2,a\n", "csv", "column 'x' holds '' in row 1, expected numbers"),
    ("x,n,c\n1,2.5,a\n", "csv", "column 'n' holds 2.5 in row 0, expected whole numbers"),
    ("x,n,c\n-1,2,a\n", "csv", "column 'x' holds -1 in row 0, expected numbers at or above 0 GeV"),
    ("x,n,c\n5,2,a\n", "csv", "column 'x' holds 5 in row 0, expected numbers at or below 2 GeV"),
    ("x,n,c\n1,2,d\n", "csv", "column 'c' holds 'd' in row 0, expected one of a, b"),
    ("x,n\n1,2\n", "csv", r"column 'c' is missing, found \['x', 'n'\]"),
    ("x,n,c,x\n1,2,a,3\n", "csv", "column 'x' is there 2 times"),
    ("x,n,c\n1,2\n", "csv", "row 0 has 2 cells, expected 3"),
    ("x,n,c\n", "csv", "the file holds no events"),
    ("", "csv", "column 'x' is missing"),
    ("\x00\xff", "csv", "not a CSV file in UTF-8|column 'x' is missing"),
    ("PAR1", "parquet", "not a Parquet file, or a damaged one"),
    ("no", "h5", "not an HDF5 file"),
    ("x", "root", "tables are files of .h5, .hdf5, .csv, .parquet, not '.root'"),
]  # fmt: skip
SMALL = {
    "x": {"low": 0.0, "high": 2.0, "unit": "GeV"},
    "n": {"integer": True},
    "c": {"classes": ["a", "b"]},
}


@pytest.mark.parametrize(("text", "suffix", "message"), CASES)
def test_a_bad_file_is_told_in_one_sentence(
    text: str, suffix: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=message) as error:
        TableFiles("small", columns_of(SMALL)).check(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_says_no_kind_of_table_is_refused_before_anything_is_made() -> None:
    with pytest.raises(UserError, match=r"x\.txt: tables are files of"):
        check_output("x.txt", form(), overwrite=False)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no such file"):
        form().read(tmp_path / "no.csv")


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("jets", np.zeros(5, np.float32), r"key 'jets' has shape \(5,\), expected \('N', k\)"),
        ("jets", np.zeros((5, 1)), r"expected \('N', k\) with a column 1"),
        ("phi", np.zeros((5, 2)), r"key 'phi' has shape \(5, 2\), expected \('N',\), or the index"),
        ("phi", np.zeros(4), "the keys differ in length"),
        ("tracks", np.array([b"a"] * 5), "expected an array of numbers"),
        ("groomed", None, "key 'groomed/share' is missing"),
        ("weight", -np.ones(5), "column 'weight' holds -1 in row 0, expected numbers at or above 0"),
    ],
)  # fmt: skip
def test_a_bad_hdf5_table_is_told(
    key: str, array: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.h5"
    form().write(path, rows(5))
    with h5py.File(path, "a") as file:
        del file[key]
        if array is not None:
            file[key] = array
    with pytest.raises(FormatError, match=message):
        form().read(path)


def test_parquet_columns_need_their_type(tmp_path: Path) -> None:
    table = TableFiles("small", columns_of({"x": {"classes": ["a", "b"]}}))
    table.write(tmp_path / "a.parquet", Batch(torch.ones(3, 1)))
    with pytest.raises(FormatError, match="column 'x' is of type string, expected numbers"):
        TableFiles("small", columns_of({"x": {}})).read(tmp_path / "a.parquet")
    with pytest.raises(FormatError, match=r"column 'y' is missing, found \['x'\]"):
        TableFiles("small", columns_of({"y": {}})).read(tmp_path / "a.parquet")


def test_empty_cells_of_parquet_are_refused(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    for values, settings, found in (
        ([1, None], {"integer": True}, "nan"),
        (["a", None], {"classes": ["a", "b"]}, "'None'"),
    ):
        parquet.write_table(arrow.table({"x": values}), tmp_path / "a.parquet")
        with pytest.raises(FormatError, match=f"column 'x' holds {found} in row 1"):
            TableFiles("small", columns_of({"x": settings})).read(tmp_path / "a.parquet")


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_what_a_spreadsheet_would_run_is_not_written(start: str, tmp_path: Path) -> None:
    events = Batch(torch.zeros(2, 1))
    for settings in ({"x": {"key": f"{start}1"}}, {"x": {"classes": [f"{start}cmd", "b"]}}):
        table = TableFiles("small", columns_of(settings))
        with pytest.raises(UserError, match="would run it as a formula"):
            table.write(tmp_path / "a.csv", events)
    TableFiles("small", columns_of({"x": {"classes": [-1, 1]}})).write(tmp_path / "a.csv", events)


def test_names_of_classes_do_not_stand_in_hdf5(tmp_path: Path) -> None:
    table = TableFiles("small", columns_of({"x": {"classes": ["a", "b"]}}))
    with pytest.raises(FormatError, match="the classes of x have names: write CSV or Parquet"):
        table.write(tmp_path / "a.h5", Batch(torch.zeros(2, 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x": {"kee": "a"}}, "column 'x' of the table has no setting kee"),
        ({"x": {"use": "label"}}, "used as feature, condition, event, got 'label'"),
        ({"x": {"log": True}}, "column 'x' cannot be: .* needs a positive lower bound"),
        ({"x": {"periodic": True}}, "column 'x' cannot be: .* needs both bounds"),
        ({"x": {}, "y": {"key": "x"}}, "two columns of the table stand in the same place: x"),
        ({"x": {"use": "condition"}}, "at least one column that is a feature"),
        ({"x": None}, "at least one column that is a feature"),
        (
            {"x": {}, "a": {"role": "weight"}, "b": {"role": "weight"}},
            "one column of weights at most",
        ),
    ],
)
def test_columns_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        columns_of(settings)


def test_every_setting_of_a_column_arrives() -> None:
    columns = {column.name: column for column in columns_of(COLUMNS)}
    assert columns["pt"].title == "jets[1]"
    assert columns["phi"].field.periodic
    assert columns["tracks"].field.integer
    assert columns["flavour"].field.classes == ("21", "1", "-1")
    assert columns["w"].weighs
