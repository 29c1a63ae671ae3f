from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from simulacra.core import Spec, UserError
from simulacra.data import build
from simulacra.data.jetclass import EMBEDDED, JetClass
from simulacra.data.jetnet import JetNet
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetclass_columns import CLASSES
from simulacra.formats.jetnet import JetNetFormat, jetnet
from support import composed


def configured(name: str, **changes: Any) -> JetNet | JetClass:
    merged = OmegaConf.merge(composed("data", f"data={name}"), {"root": None, **changes})
    data = build(OmegaConf.to_container(merged))  # type: ignore[arg-type]
    assert isinstance(data, JetNet | JetClass)
    return data


@pytest.mark.parametrize(
    ("name", "changes", "total"),
    [
        ("jetnet30", {}, 6000),
        ("jetnet30", {"classes": ["w", "t", "g", "z", "q"]}, 20000),
        ("jetnet150", {"classes": ["q", "t"]}, 1600),
        ("jetclass", {}, 1000),
    ],
)
def test_the_embedded_sample_is_used_and_announced(
    name: str, changes: dict[str, Any], total: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = configured(name, **changes)
    assert Spec.from_dict(data.spec.to_dict()) == data.spec
    with caplog.at_level(logging.WARNING):
        sizes = data.sizes()
    assert sum(sizes.values()) == total
    assert len(caplog.records) == 1
    assert f"embedded sample of {total:,} Pythia jets" in caplog.text
    for part in ("train", "val", "test"):
        data.spec.validate(data.part(part)[range(50)])
    assert data.provenance["source"] == "embedded sample"


def test_the_split_is_that_of_the_library() -> None:
    data = configured("jetnet30", classes=["t", "q"])
    files = [
        JetNetFormat(jetnet(30, [c]), [c]).read(data.found.train[i]).x for i, c in enumerate("qt")
    ]
    everything = torch.cat(files)
    order = np.random.default_rng(42).permutation(11000)
    cuts = (np.cumsum(np.insert([0.7, 0.15, 0.15], 0, 0)) * 11000).astype(
        int
    )  # as the library cuts
    for number, name in enumerate(("train", "val", "test")):
        expected = order[cuts[number] : cuts[number + 1]]
        assert torch.equal(data.part(name).index, torch.from_numpy(expected))
        assert torch.equal(data.batch(100, name).x, everything[expected[:100]])
        label = data.batch(100, name).cond["jet_class"][:, 0]
        assert torch.equal(label, torch.from_numpy((expected[:100] >= 5000).astype(np.int64)))


def test_the_classes_are_numbered_in_the_librarys_order_whatever_the_users() -> None:
    assert configured("jetnet30", classes=["z", "g", "t"]).spec.conditions[0].classes == (
        "g",
        "t",
        "z",
    )
    assert configured("jetnet30", classes=["z"]).spec.conditions == ()


def test_named_files_are_training_and_test_part(tmp_path: Path) -> None:
    for part, seed in (("train", 0), ("test", 1)):
        (tmp_path / part).mkdir()
        configured("jetnet30", classes=["g", "t"]).write_toy(tmp_path / part, 50, seed)
    files = {part: [f"{part}/t.hdf5", f"{part}/g.hdf5"] for part in ("train", "test")}
    data = configured("jetnet30", classes=["g", "t"], root=str(tmp_path), files=files)
    assert data.sizes() == {"train": 90, "val": 10, "test": 100}
    assert data.part("test").source is not data.part("train").source
    assert (
        20 < int(data.batch(60, "test").cond["jet_class"].sum()) < 40
    )  # mixed, though the files are not


def test_public_names_are_found_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    configured("jetnet150").write_toy(tmp_path / "a" / "b", 40)
    data = configured("jetnet150", root=str(tmp_path))
    assert data.sizes() == {"train": 28, "val": 6, "test": 6}
    assert data.provenance["source"] == "files"
    with pytest.raises(UserError, match=r"download g150.hdf5, t150.hdf5 \(Zenodo record 6975117\)"):
        configured("jetnet150", root=str(tmp_path), classes=["g", "t"]).sizes()


def test_the_cache_gives_the_same_jets_and_knows_the_numbers_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path / "cache"))
    for name in ("g", "t"):
        JetNetFormat(jetnet(30, [name]), [name]).toy(tmp_path / f"{name}.hdf5", 30)
    for classes in (["g", "t"], ["g", "q", "t"]):
        files = {"train": [str(tmp_path / "g.hdf5"), str(tmp_path / "t.hdf5")]}
        first, second = (
            configured("jetnet30", classes=classes, files=files, cache=cache).batch(40)
            for cache in ("never", "always")
        )
        assert torch.equal(first.x, second.x)
        assert first.mask is not None
        assert second.mask is not None
        assert torch.equal(first.mask, second.mask)
        assert torch.equal(first.cond["jet_class"], second.cond["jet_class"])
        assert all(torch.equal(first.event[key], second.event[key]) for key in first.event)


def test_jetclass_parts_follow_the_public_folders(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, folder in enumerate(("train_100M", "val_5M", "test_20M")):
        (tmp_path / "JetClass" / folder).mkdir(parents=True)
        configured("jetclass", classes=["QCD", "Tbqq"]).write_toy(
            tmp_path / "JetClass" / folder, 20, 10 * number
        )
    with caplog.at_level(logging.WARNING):
        data = configured("jetclass", root=str(tmp_path), classes=["QCD", "Tbqq"])
        assert data.sizes() == {"train": 40, "val": 40, "test": 40}
        assert not caplog.records
        everything = configured("jetclass", root=str(tmp_path))
        assert everything.spec.conditions[0].classes == CLASSES
        assert everything.sizes()["train"] == 40
    assert "no jets of class Hbb, Hcc, Hgg, H4q, Hqql, Zqq, Wqq, Tbl" in caplog.text
    assert {key.split("/")[0] for key in data.provenance} == {
        "data",
        "source",
        "train",
        "val",
        "test",
    }
    form = JetClassFormat(jetclass(["QCD", "Tbqq"]), ["QCD", "Tbqq"])
    expected = form.read(next(tmp_path.rglob("test_20M/TTBar_000.h5")))
    test = data.batch(40, "test")
    tops = test.cond["jet_class"][:, 0] == 1
    assert int(tops.sum()) == 20
    torch.testing.assert_close(test.x[tops].sum(0), expected.x.sum(0))


def test_jetclass_in_one_folder_is_split_without_overlap() -> None:
    data = configured("jetclass")
    assert data.spec.conditions[0].classes == EMBEDDED
    parts = [set(data.part(name).index.tolist()) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [720, 80, 200]
    assert len(set.union(*parts)) == 1000


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("jetnet30", {"classes": ["top"]}, "JetNet has the classes g, q, t, w, z, got top"),
        ("jetnet30", {"classes": []}, "got none"),
        ("jetnet30", {"particles": 40}, "30 or 150 particles"),
        ("jetnet30", {"view": "cloud"}, "no view 'cloud': it has image"),
        ("jetnet30", {"root": "/nowhere"}, "is not a folder"),
        ("jetnet30", {"files": {"train": ["no.hdf5"]}}, "do not exist: no.hdf5"),
        ("jetnet150", {"classes": ["w"]}, "brings no events of its own: download w150.hdf5"),
        ("jetclass", {"classes": ["QCD", "top"]}, "JetClass has the classes"),
        ("jetclass", {"classes": ["Tbl"]}, r"download TTBarLep_\*.root \(Zenodo record 6619768\)"),
        ("jetclass", {"root": "/nowhere"}, "is not a folder"),
    ],
)
def test_wrong_requests_are_refused_in_one_sentence(
    name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        configured(name, **changes).sizes()
