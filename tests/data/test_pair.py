"""Pairs of data sets: labels, mixing, equal total weights, and what is no pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simulacra import data
from simulacra.core import IncompatibleError, Spec, UserError
from simulacra.core.pair import FIRST, LABEL, SECOND, of_sample, unlabelled
from simulacra.data.base import EventDataModule
from simulacra.data.pair import PairDataModule
from simulacra.evaluation.config import compose
from support import composed

Toy = Callable[..., EventDataModule]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one format: 60 events, 20 events, and 20 weighted ones."""
    folder = tmp_path_factory.mktemp("pair")
    form = data.build(composed("data", "data=ds1_photons")).format
    form.toy(folder / "many.hdf5", 60, 1)
    form.toy(folder / "few.hdf5", 20, 2)
    few = form.read(folder / "few.hdf5")
    form.write(folder / "weighted.hdf5", replace(few, weight=torch.arange(20.0)))
    return folder


def pair(folder: Path, first: str, second: str, *overrides: str) -> PairDataModule:
    chosen = [
        f"data.{side}.files.{part}=[{folder / name}.hdf5]"
        for side, name in (("first", first), ("second", second))
        for part in ("train", "test")
    ]
    module = data.build(composed("data", "data=pair", *chosen, *overrides))
    assert isinstance(module, PairDataModule)
    return module


def labels(batch) -> torch.Tensor:  # type: ignore[no-untyped-def]
    assert batch.event["label"].dtype == torch.int64
    assert batch.event["label"].shape == (len(batch), 1)
    return batch.event["label"][:, 0]


def test_events_keep_their_values_and_are_told_apart_by_their_label(files: Path) -> None:
    module = pair(files, "many", "few")
    batch = module.batch(1000, "test")
    module.spec.validate(batch)
    for number, name in ((FIRST, "many"), (SECOND, "few")):
        own = of_sample(batch, number)
        expected = module.format.read(files / f"{name}.hdf5")
        assert torch.equal(own.x, expected.x)
        assert torch.equal(own.cond["incident_energy"], expected.cond["incident_energy"])
        assert LABEL.name not in own.event
        assert unlabelled(module.spec) == module.first.spec


def test_any_stretch_of_a_part_holds_both_in_proportion(files: Path) -> None:
    found = labels(pair(files, "many", "few").batch(1000, "test"))
    for start in range(0, 80, 8):
        assert abs(int(found[start : start + 8].sum()) - 6) <= 1


def test_an_epoch_shows_every_training_event_once(files: Path) -> None:
    module = pair(files, "many", "few", "data.batch_size=6")
    batches = list(module.train_dataloader())
    seen = torch.cat([batch.x.sum(1) for batch in batches])
    assert len(seen) == len(module.part("train")) == 54 + 18
    assert len(seen.unique()) == len(module.batch(1000).x.sum(1).unique())
    assert {len(batch) for batch in batches} == {6}
    assert sum(0 < int(labels(batch).sum()) < 6 for batch in batches) > 6, "they are mixed"


@pytest.mark.parametrize("second", ["few", "weighted"])
def test_both_samples_have_the_same_total_weight(files: Path, second: str) -> None:
    module = pair(files, "many", second)
    for part in ("train", "val", "test"):
        batch = module.batch(1000, part)
        sums = [float(of_sample(batch, n).weight.sum()) for n in (FIRST, SECOND)]
        assert sums == pytest.approx([len(batch) / 2] * 2, rel=1e-5)
    weight = of_sample(module.batch(1000, "test"), SECOND).weight
    expected = torch.arange(20.0) if second == "weighted" else torch.ones(20)
    torch.testing.assert_close(weight / weight.sum(), expected / expected.sum())


def test_equal_samples_without_weights_need_none(files: Path) -> None:
    assert pair(files, "many", "many").batch(10).weight is None


def test_a_limit_counts_events_of_both(files: Path) -> None:
    module = pair(files, "many", "few", "data.limit=24")
    found = labels(module.batch(1000))
    assert len(found) == 24
    assert int(found.sum()) == 18


def test_ranges_and_provenance_are_those_of_both(files: Path) -> None:
    module = pair(files, "many", "weighted")
    energies = module.batch(1000).cond["incident_energy"]
    assert module.trained_range()["incident_energy"] == (
        float(energies.min()),
        float(energies.max()),
    )
    assert {"first/train/many.hdf5", "second/train/weighted.hdf5"} <= set(module.provenance)


def test_a_view_is_shared_and_undone(toy: Toy) -> None:
    module = toy("pair", None, "data.first.view=cloud", "data.second.view=cloud")
    batch = module.batch(6, "test")
    assert module.spec.kind == "cloud"
    module.spec.validate(batch)
    native = module.native(batch)
    assert native.x.shape[1:] == module.format.spec.shape
    assert torch.equal(module.shown(native).x, batch.x)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [("ds1_photons", "ds2", "kind"), ("ds2", "ds3", "shape"), ("jetnet30", "jetnet150", "shape")],
)
def test_samples_of_different_events_are_refused_in_one_sentence(
    first: str, second: str, reason: str
) -> None:
    wanted = f"{first} and {second} are no pair, as they differ in {reason}"
    with pytest.raises(IncompatibleError, match=wanted) as error:
        data.build(composed("data", "data=pair", f"data/first={first}", f"data/second={second}"))
    assert "\n" not in str(error.value)


def test_the_same_sets_seen_through_different_views_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="no pair"):
        data.build(composed("data", "data=pair", "data.first.view=cloud"))


def test_each_sample_is_chosen_like_a_data_set_of_its_own(tmp_path: Path) -> None:
    config = compose("train", ["data=pair", "data/first=ds2", "data/second=ds3"])
    for side, name in (("first", "ds2"), ("second", "ds3")):
        own = compose("train", [f"data={name}"]).data
        assert config.data[side] == own


def test_data_sets_of_the_current_folder_make_pairs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("defaults: [ds2]\nname: mine\n")
    monkeypatch.chdir(tmp_path)
    config = compose("train", ["data=pair", "data/second=mine"])
    assert (config.data.first.name, config.data.second.name) == ("ds1_photons", "mine")


def test_a_saved_pair_runs_no_foreign_code() -> None:
    config = composed("data", "data=pair")
    second = {**config["second"], "format": {"_target_": "os.getcwd"}}
    with pytest.raises(UserError, match="was not run"):
        data.build({**config, "second": second}, trusted=False)
    assert isinstance(data.build(config, trusted=False).spec, Spec)
