from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, Spec, UserError
from simulacra.core.dijets import dijets
from simulacra.formats.lhco import N_PARTICLES, LhcoEvents, LhcoFeatures
from simulacra.formats.lhco_search import LhcoSearch
from simulacra.formats.six_quarks import COMPONENTS, QUARKS, SixQuarks

NAMES = [
    f"{name}j{jet}" for jet in (1, 2) for name in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
]


def same(one: Batch, two: Batch) -> bool:
    fields = [(one.cond, two.cond), (one.event, two.event)]
    return torch.equal(one.x, two.x) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in fields
    )


def text(item: h5py.Group | h5py.Dataset, name: str) -> str:
    """An attribute of fixed length in UTF-8, as PyTables asks for."""
    kind = h5py.h5a.open(item.id, name.encode()).get_type()
    assert isinstance(kind, h5py.h5t.TypeStringID)
    assert not kind.is_variable_str()
    assert kind.get_cset() == h5py.h5t.CSET_UTF8
    value = item.attrs[name]
    return "" if isinstance(value, h5py.Empty) else value.decode()


@pytest.mark.parametrize("form", [LhcoFeatures(), LhcoEvents()])
def test_a_round_trip_is_exact_and_has_the_public_layout(
    form: LhcoFeatures | LhcoEvents, tmp_path: Path
) -> None:
    form.toy(tmp_path / "toy.h5", 50, 3)
    batch, path = form.read(tmp_path / "toy.h5"), tmp_path / "features.h5"
    form.spec.validate(batch)
    with form.writer(path, {"pythia8mc": "8.3"}) as writer:
        writer.append(batch[:20])
        writer.append(batch[20:])
    assert same(form.read(path), batch)
    assert same(form.read(path, 10, 30), batch[10:30])
    assert form.check(path).n == 50
    assert same(LhcoFeatures().read(path), LhcoFeatures().read(tmp_path / "toy.h5"))
    with h5py.File(path) as file:
        group = file["df"]
        assert [name.decode() for name in group["block0_items"][:]] == [*NAMES, "label"]
        assert np.array_equal(group["axis0"][:], group["block0_items"][:])
        assert np.array_equal(group["axis1"][:], np.arange(50))
        assert group["block0_values"].shape == (50, 15)
        labels = batch.cond["label"].numpy()
        assert np.array_equal(group["block0_values"][:, 14:], labels)
        assert 0 < labels.sum() < 50
        assert text(group, "pandas_type") == "frame"
        assert text(group["axis0"], "kind") == "string"
        assert text(group["axis1"], "kind") == "integer"
        assert text(group["block0_values"], "CLASS") == "CARRAY"
        assert text(file, "TITLE") == ""
        assert file.attrs["pythia8mc"] == "8.3"


@pytest.mark.parametrize("form", [LhcoFeatures(), LhcoEvents()])
def test_pandas_reads_the_features(form: LhcoFeatures | LhcoEvents, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    form.toy(tmp_path / "a.h5", 30)
    frame, rows = pandas.read_hdf(tmp_path / "a.h5"), LhcoFeatures().read(tmp_path / "a.h5")
    assert list(frame.columns) == [*NAMES, "label"]
    assert np.array_equal(frame[NAMES].to_numpy(), rows.x.numpy())
    assert np.array_equal(frame["label"], rows.cond["label"][:, 0].numpy())


@pytest.mark.parametrize(
    ("key", "place", "value", "message"),
    [
        ("df/block0_values", (3, 14), 2, "column 'df/block0_values\\[14\\]' holds 2 in row 3"),
        ("df/block0_values", (3, 3), -1, "numbers at or above 0 GeV"),
        ("particles", (3, 0, 0), -1, "momenta at or above 0, and zeros behind"),
        ("particles", (3, N_PARTICLES - 1), (0, 1, 0), "momenta at or above 0, and zeros behind"),
        ("particles", (3, 0, 1), np.nan, "NaN"),
    ],
)
def test_what_cannot_be_is_refused(
    key: str, place: tuple, value: object, message: str, tmp_path: Path
) -> None:
    LhcoEvents().toy(tmp_path / "a.h5", 5)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file[key][place] = value
    with pytest.raises(FormatError, match=message):
        LhcoEvents().read(tmp_path / "a.h5")


def test_events_without_a_mask_are_not_written(tmp_path: Path) -> None:
    form = LhcoEvents()
    form.toy(tmp_path / "a.h5", 5)
    batch = form.read(tmp_path / "a.h5")
    with pytest.raises(UserError, match="with a mask"):
        form.write(tmp_path / "b.h5", Batch(batch.x, batch.cond, batch.event))
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize("suffix", ["h5", "csv", "parquet"])
def test_six_quarks_have_named_columns_in_every_kind_of_file(suffix: str, tmp_path: Path) -> None:
    form, path = SixQuarks(), tmp_path / f"a.{suffix}"
    assert [field.name for field in form.spec.features] == [
        f"{quark}_{component}" for quark in QUARKS for component in COMPONENTS
    ]
    batch = Batch(torch.randn(9, 24).abs())
    form.write(path, batch)
    assert torch.equal(form.read(path).x, batch.x)
    assert Spec.from_dict(form.spec.to_dict()) == form.spec
    form.write(path, Batch(-batch.x))
    with pytest.raises(FormatError, match="'b_e' holds -"):
        form.read(path)


def test_the_table_of_a_search_is_derived_and_read_again_as_it_was_written(tmp_path: Path) -> None:
    raw, form = LhcoFeatures(), LhcoSearch()
    raw.toy(tmp_path / "features.h5", 50, 1)
    rows = raw.read(tmp_path / "features.h5")
    single = rows.x.clone()
    single[3, [4, 5]] = 0.0  # a leading jet of one particle
    rows = replace(rows, x=single, weight=torch.arange(1.0, 51.0))
    raw.write(tmp_path / "features.h5", rows)
    found = form.read(tmp_path / "features.h5")
    form.spec.validate(found)
    expected = dijets({f.name: rows.x[:, i] for i, f in enumerate(raw.spec.features)})
    names = [field.name for field in form.spec.features]
    assert names == ["m_light", "m_difference", "tau21_light", "tau21_heavy"]
    columns = torch.stack([expected[name] for name in names], 1)
    torch.testing.assert_close(found.x, columns.nan_to_num(0.0).float())
    light = int(rows.x[3, 3] > rows.x[3, 10])
    assert float(found.x[3, 2 + light]) == 0
    assert int(expected["tau21_light"].isnan().sum() + expected["tau21_heavy"].isnan().sum()) >= 1
    torch.testing.assert_close(found.cond["m_jj"][:, 0], expected["m_jj"].float())
    assert torch.equal(found.event["signal"], rows.cond["label"])
    assert torch.equal(found.weight, rows.weight)
    assert torch.equal(form.read(tmp_path / "features.h5", 10, 20).x, found.x[10:20])
    form.write(tmp_path / "table.h5", found[5:30])
    assert same(form.read(tmp_path / "table.h5"), found[5:30])
    assert torch.equal(form.read(tmp_path / "table.h5").weight, found.weight[5:30])
    with h5py.File(tmp_path / "features.h5", "r+") as file:
        file["df/block0_values"][7, 3] = -1.0
    with pytest.raises(FormatError, match=r"mj1|block0_values\[3\].*row 7"):
        form.read(tmp_path / "features.h5")
