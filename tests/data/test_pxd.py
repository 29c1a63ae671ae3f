from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra import data
from simulacra.core import UserError
from simulacra.data.pxd import HitSource, PxdDataModule
from simulacra.data.pxd_synthetic import PxdBackground
from simulacra.formats.pxd import PxdFormat, pxd, pxd_small
from support import composed


def build(*overrides: str, name: str = "pxd_small") -> PxdDataModule:
    module = data.build(composed("data", f"data={name}", *overrides))
    assert isinstance(module, PxdDataModule)
    return module


def test_the_embedded_events_are_there_at_once_and_say_what_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = build()
    assert module.sizes() == {"train": 144, "val": 16, "test": 60}
    assert module.found.train[0].parent.name == "pxd"
    assert "embedded" in module.found.train[0].parts
    assert "no evidence" in caplog.text
    assert module.provenance["source"] == "synthetic stand-in"
    batch = module.batch(20, "test")
    module.spec.validate(batch)
    assert float(batch.x[batch.x > 0].min()) >= 7
    assert not (set(module.part("train").index.tolist()) & set(module.part("val").index.tolist()))


def test_the_embedded_events_are_those_of_the_generator() -> None:
    module = build()
    form = module.format
    made = form.reduce(replace(PxdBackground(), sensors=tuple(sorted(form.sensors))).event(0))
    kept = module.part("train").source.hits([0])
    # equal here; other processors may round a few charges differently
    assert (made.to_dense(form.sensors) == kept.to_dense(form.sensors)).double().mean() > 0.99


def test_other_settings_are_made_once_and_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path))
    options = [
        "data.events={train: 6, test: 3}",
        "data.background.scale=2",
        "data.sensors=[1.1.1,2.10.1]",
    ]
    first = build(*options)
    first.prepare_data()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "pxd").iterdir()}
    assert len(times) == 2
    again = build(*options)
    assert torch.equal(again.batch(5).x, first.batch(5).x)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pxd").iterdir()} == times
    assert first.spec.shape == (2, 32, 96)
    assert [layer.id for layer in first.spec.geometry.layers] == [0, 34]
    assert "scale=2" in first.provenance["settings"]
    build("data.events={train: 6, test: 3}", "data.sensors=[1.1.1,2.10.1]").prepare_data()
    assert len(list((tmp_path / "pxd").iterdir())) == 4
    with h5py.File(first.found.test[0]) as file:
        assert "events=1000000+3" in file.attrs["settings"]


def test_images_of_full_sensors_are_converted_once_and_split(tmp_path: Path) -> None:
    (tmp_path / "somewhere").mkdir()
    PxdFormat(pxd(["1.1.1", "2.2.1"])).toy(tmp_path / "somewhere" / "images", 10)
    module = build(
        f"data.root={tmp_path}", "data.sensors=[2.2.1,1.1.1]", "data.eval_batch_size=2", name="pxd"
    )
    assert module.sizes() == {"train": 7, "val": 1, "test": 2}
    whole = PxdFormat(module.spec).read(tmp_path / "somewhere" / "images").x
    part = module.part("test")
    assert torch.equal(part[[0, 1]].x, whole[part.index])
    seen = torch.cat([module.part(name).index for name in ("train", "val", "test")])
    assert seen.sort().values.tolist() == list(range(10))
    assert module.provenance["source"] == "files"


def test_train_and_test_folders_are_told_apart(tmp_path: Path) -> None:
    form = PxdFormat(pxd(["1.1.1"]))
    for name, n in (("train", 5), ("test", 2)):
        form.toy(tmp_path / name, n, seed=n)
    module = build(
        f"data.root={tmp_path}", "data.sensors=[1.1.1]", "data.validation=0.2", name="pxd"
    )
    assert module.sizes() == {"train": 4, "val": 1, "test": 2}
    named = build(
        "data.sensors=[1.1.1]", f"data.files.train=[{tmp_path}/test,{tmp_path}/train]", name="pxd"
    )
    assert sum(named.sizes().values()) == 7
    form.toy(tmp_path / "more", 1)
    with pytest.raises(UserError, match=r"choose with data\.files"):
        build(f"data.root={tmp_path}", "data.sensors=[1.1.1]", name="pxd").sizes()


def test_an_empty_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=null"):
        build(f"data.root={tmp_path}").sizes()
    with pytest.raises(UserError, match="does not exist"):
        build(f"data.files.train=[{tmp_path}/none]").sizes()


def test_large_files_are_read_event_by_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = PxdFormat(pxd_small())
    for name in ("a.hdf5", "b.hdf5"):
        form.toy(tmp_path / name, 3, seed=len(name))
    paths = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
    memory = HitSource(paths, form)
    monkeypatch.setattr("simulacra.data.pxd.MEMORY_HITS", 0)
    lazy = HitSource(paths, form)
    order = [4, 0, 5, 2, 0]
    assert lazy.hits(order).sha256() == memory.hits(order).sha256()
    assert torch.equal(lazy.take(order).x, memory.take(order).x)


def test_nothing_is_asked_of_a_generator() -> None:
    module = build()
    assert module.conditions(10_000).values == {}
    assert len(module.conditions(10_000)) == 10_000
    assert module.trained_range() == {}


def test_loaders_give_images_of_the_full_detector(tmp_path: Path) -> None:
    module = build(f"data.root={tmp_path}", name="pxd")
    module.write_toy(tmp_path, 2)
    batch = next(iter(module.train_dataloader()))
    assert batch.x.shape == (1, 40, 250, 768)
    assert float((batch.x > 0).float().mean()) == pytest.approx(0.009, rel=0.05)
    assert np.array_equal(module.observables.sensors, np.arange(40))


def test_the_rate_of_each_event_is_drawn_stored_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path))
    options = ["data.events={train: 8, test: 4}", "data.sensors=[1.1.1,2.1.1]"]
    module = build(*options, "data.rate=[0.3,3]")
    field = module.spec.roles["rate"]
    assert (field.name, field.unit) == ("rate", "nominal")
    batch = module.part("test")[[0, 1, 2, 3]]
    expected = [module.background.rate_of(1_000_000 + index) for index in range(4)]
    assert batch.cond["rate"][:, 0].tolist() == expected
    module.spec.validate(batch)
    assert 0.3 <= min(expected) < max(expected) <= 3
    hits = (batch.x > 0).flatten(1).sum(1).double()
    assert float(torch.corrcoef(torch.stack([hits, batch.cond["rate"][:, 0].double()]))[0, 1]) > 0.9
    drawn = module.conditions(50, torch.Generator().manual_seed(0))
    assert set(drawn.values["rate"][:, 0].tolist()) <= set(expected)
    low, high = module.trained_range()["rate"]
    assert 0.3 <= low < high <= 3
    with h5py.File(module.found.test[0]) as file:
        assert file["rate"].shape == (4,)
    named = [f"data.files.train=[{module.found.train[0]}]", "data.sensors=[1.1.1,2.1.1]"]
    assert (
        build(*named).batch(2).cond == {}
    )  # a model that is not given the rate reads the file all the same
    read = build(*named, "data.rate=[0.3,3]")
    assert set(read.batch(6).cond["rate"][:, 0].tolist()) <= {
        module.background.rate_of(i) for i in range(8)
    }


def test_files_without_a_rate_say_so_where_it_is_a_condition(tmp_path: Path) -> None:
    PxdFormat(pxd_small()).toy(tmp_path / "pxd.hdf5", 4)
    assert build(f"data.root={tmp_path}").batch(2).cond == {}
    with pytest.raises(UserError, match="'rate'"):
        build(f"data.root={tmp_path}", "data.rate=[1,1]").sizes()
    PxdFormat(pxd(["1.1.1"])).toy(tmp_path / "images", 2)
    with pytest.raises(UserError, match="images have no rate"):
        build(
            f"data.files.train=[{tmp_path}/images]",
            "data.rate=[1,1]",
            "data.sensors=[1.1.1]",
            name="pxd",
        ).sizes()
    for wrong in ("[1]", "[2,1]", "[0,1]"):
        with pytest.raises(UserError, match=r"data\.rate is"):
            build(f"data.rate={wrong}")


def test_a_rate_of_one_gives_the_events_without_a_rate() -> None:
    plain, rated = PxdBackground(sensors=[0]), PxdBackground(sensors=[0], rate=[1.0, 1.0])
    assert plain.event(3).sha256() == rated.event(3).sha256()
    assert plain.key() != rated.key()
    assert "rate" not in plain.key()
