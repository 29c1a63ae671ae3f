import functools
import logging
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from simulacra import data
from simulacra.core import UserError
from simulacra.data.cache import SparseSource
from simulacra.data.showers import ShowerDataModule
from simulacra.data.source import MemorySource
from support import composed

EMBEDDED = ("ds1_photons", "ds2", "ds3", "calogan", "ild", "ild_10x10", "ild_cloud")
MISSING = ("ds1_pions", "ild_angles")


configuration = functools.cache(lambda name: composed("data", f"data={name}"))


def build(name: str, root: Path | None = None, **arguments: Any) -> ShowerDataModule:
    config = configuration(name)
    module = data.build({**config, **({"root": str(root)} if root else {}), **arguments})
    assert isinstance(module, ShowerDataModule)
    return module


def energies_in(module: ShowerDataModule, part: str) -> set[float]:
    chosen = module.part(part)
    return set(chosen[range(len(chosen))].cond["incident_energy"][:, 0].tolist())


def rows(module: ShowerDataModule, part: str) -> list[tuple[float, ...]]:
    chosen = module.part(part)
    return [tuple(event.flatten().tolist()) for event in chosen[range(len(chosen))].x]


@pytest.mark.parametrize("name", EMBEDDED)
def test_without_a_root_the_embedded_sample_is_used_and_named(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        module = build(name)
        batch = module.batch(3)
    module.native_spec.validate(batch)
    assert len(caplog.messages) == 1
    assert (
        f"embedded sample of {sum(module.sizes().values()):,} Geant4 showers" in caplog.messages[0]
    )
    assert module.published.source in caplog.messages[0]
    assert module.provenance["source"] == "embedded sample"


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_samples_pass_every_check_of_their_format(name: str) -> None:
    module = build(name)
    for path in (*module.found.train, *module.found.test):
        assert module.format.check(path).n > 20
    response = module.observables.response(module.batch(20, "test"))
    assert response is not None
    assert bool((response[1] > 0).all())


@pytest.mark.parametrize("name", MISSING)
def test_where_there_is_no_sample_the_error_says_what_to_download(name: str) -> None:
    module = build(name)
    with pytest.raises(UserError, match="brings no events of its own: download") as caught:
        module.setup()
    assert module.published.source in str(caught.value)


@pytest.mark.parametrize(
    ("name", "train", "test"), [("ds1_photons", 1, 1), ("ds1_pions", 1, 1), ("ds3", 2, 2)]
)
def test_odd_files_train_and_even_files_test(
    name: str, train: int, test: int, tmp_path: Path
) -> None:
    build(name).write_toy(tmp_path, 10)
    module = build(name, tmp_path)
    assert module.sizes() == {"train": 9 * train, "val": train, "test": 10 * test}
    expected = torch.cat([module.format.read(path).x for path in module.found.test])
    assert torch.equal(module.batch(100, "test").x, expected)


def test_public_files_are_found_at_any_depth_and_may_be_few(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    build("ds3").write_toy(folder, 10)
    (folder / "dataset_3_2.hdf5").unlink()
    (folder / "dataset_3_4.hdf5").unlink()
    assert build("ds3", tmp_path).sizes() == {"train": 9, "val": 1, "test": 10}


def test_a_set_without_test_file_is_split_once_for_all_seeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build("calogan").write_toy(tmp_path, 50)
    with caplog.at_level(logging.INFO):
        module = build("calogan", tmp_path)
        assert module.sizes() == {"train": 36, "val": 4, "test": 10}
    assert any(
        "has no test file: a fifth of the events, by a fixed permutation" in text
        for text in caplog.messages
    )
    other = build("calogan", tmp_path, seed=5)
    assert rows(module, "test") == rows(other, "test")
    everything = rows(module, "train") + rows(module, "val") + rows(module, "test")
    assert len(set(everything)) == 50


def test_validation_events_are_not_trained_on(tmp_path: Path) -> None:
    build("ds1_photons").write_toy(tmp_path, 40)
    module = build("ds1_photons", tmp_path, validation=0.25)
    assert module.sizes() == {"train": 30, "val": 10, "test": 40}
    assert not set(rows(module, "train")) & set(rows(module, "val"))


def test_one_energy_can_be_held_out(tmp_path: Path) -> None:
    build("ds1_photons").write_toy(tmp_path, 120)
    module = build("ds1_photons", tmp_path, hold_out=[4096], validation=0.2)
    for part in ("train", "val", "test"):
        assert 4096.0 not in energies_in(module, part)
    assert energies_in(module, "held_out") == {4096.0}
    whole = build("ds1_photons", tmp_path, validation=0.2)
    assert len(module.part("held_out")) + len(module.part("test")) == len(whole.part("test"))


def test_energies_are_chosen_by_value_or_range(tmp_path: Path) -> None:
    build("ds1_photons").write_toy(tmp_path, 120)
    module = build("ds1_photons", tmp_path, energies=[256, [2000, 9000]])
    assert energies_in(module, "train") <= {256.0, 2048.0, 4096.0, 8192.0}
    assert module.trained_range()["incident_energy"][1] <= 8192.0


def test_an_energy_that_is_not_there_is_named_with_the_range_that_is(tmp_path: Path) -> None:
    build("ds1_photons").write_toy(tmp_path, 20)
    with pytest.raises(
        UserError, match=r"holds no events: the files run from \d+ to .* MeV, energies=\[300\]"
    ):
        build("ds1_photons", tmp_path, energies=[300]).setup()


def test_the_trained_range_is_that_of_the_training_part(tmp_path: Path) -> None:
    build("calogan").write_toy(tmp_path, 50)
    module = build("calogan", tmp_path)
    batch = module.batch(1000)
    assert module.trained_range() == {
        name: (float(value.min()), float(value.max()))
        for name, value in {**batch.cond, **batch.event}.items()
    }


def test_conditions_come_with_the_event_fields_of_the_same_shower(tmp_path: Path) -> None:
    build("calogan").write_toy(tmp_path, 50)
    module = build("calogan", tmp_path)
    first, again = (module.conditions(30, torch.Generator().manual_seed(4)) for _ in range(2))
    batch = module.batch(1000, "test")
    pairs = {
        tuple(row)
        for row in torch.cat([batch.cond["incident_energy"], batch.event["overflow"]], 1).tolist()
    }
    drawn = torch.cat([first.values["incident_energy"], first.values["overflow"]], 1).tolist()
    assert {tuple(row) for row in drawn} <= pairs
    assert torch.equal(first.values["overflow"], again.values["overflow"])


def test_cached_and_dense_parts_are_equal(tmp_path: Path) -> None:
    build("ild").write_toy(tmp_path, 20)
    dense, sparse = (build("ild", tmp_path, cache=cache) for cache in ("never", "always"))
    sparse.prepare_data()
    for part in ("train", "val", "test"):
        assert torch.equal(dense.batch(100, part).x, sparse.batch(100, part).x)
    assert isinstance(dense.part("train").source, MemorySource)
    assert isinstance(sparse.part("train").source, SparseSource)


def test_a_large_part_goes_through_the_cache_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("ild").write_toy(tmp_path, 20)
    monkeypatch.setattr("simulacra.data.file_data.DENSE_BYTES", 20 * 27_000 * 4 - 1)
    assert isinstance(build("ild", tmp_path).part("train").source, SparseSource)


def test_worker_processes_give_the_same_batches(tmp_path: Path) -> None:
    build("ds1_photons").write_toy(tmp_path, 40)
    alone, helped = (
        build("ds1_photons", tmp_path, cache="always", workers=n, batch_size=8) for n in (0, 1)
    )
    for one, other in zip(alone.train_dataloader(), helped.train_dataloader(), strict=True):
        assert torch.equal(one.x, other.x)


def test_several_particles_make_a_condition_and_need_a_file_each(tmp_path: Path) -> None:
    config = composed(
        "data", "data=calogan", "data.format.spec.particles=[eplus,gamma]", f"data.root={tmp_path}"
    )
    build("calogan").write_toy(tmp_path, 20)
    with pytest.raises(
        UserError, match=r"no files of calogan below .*download eplus\.hdf5, gamma\.hdf5"
    ):
        data.build(config).setup()
    (tmp_path / "gamma.hdf5").write_bytes((tmp_path / "eplus.hdf5").read_bytes())
    module = data.build(config)
    assert set(module.batch(100).cond["particle"][:, 0].tolist()) == {0, 1}
    module.spec.validate(module.batch(4))


def test_other_files_are_taken_by_name_below_the_root(tmp_path: Path) -> None:
    module = build("ds1_photons")
    module.format.toy(tmp_path / "mine.hdf5", 30)
    module.format.toy(tmp_path / "judge.hdf5", 12, seed=1)
    files = {"train": ["mine.hdf5"], "test": ["judge.hdf5"]}
    assert build("ds1_photons", tmp_path, files=files).sizes() == {
        "train": 27,
        "val": 3,
        "test": 12,
    }
    assert (
        build("ds1_photons", tmp_path, files={"train": ["mine.hdf5"], "test": None}).sizes()["test"]
        == 6
    )
    with pytest.raises(UserError, match=r"names files that do not exist: .*absent\.hdf5"):
        build("ds1_photons", tmp_path, files={"train": ["absent.hdf5"]}).setup()
    with pytest.raises(UserError, match="takes the lists train, with val and test"):
        build("ds1_photons", tmp_path, files={"test": ["judge.hdf5"]}).setup()


def test_held_out_energies_are_left_out_of_validation_files_too(tmp_path: Path) -> None:
    form = build("ds1_photons").format
    for number, part in enumerate(("train", "val", "test")):
        form.toy(tmp_path / f"{part}.hdf5", 90, seed=number)
    files = {part: [str(tmp_path / f"{part}.hdf5")] for part in ("train", "val", "test")}
    module = build("ds1_photons", files=files, hold_out=[4096])
    whole = rows(build("ds1_photons", files=files), "val")
    assert len(whole) == 90
    assert 0 < len(module.part("val")) < 90
    assert set(rows(module, "val")) < set(whole)
    assert 4096.0 not in energies_in(module, "val")


def test_a_root_without_the_files_is_an_error_and_not_the_embedded_sample(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no files of ds2 below .*dataset_2_1\.hdf5 \(Zenodo record 6366270\)"
    ):
        build("ds2", tmp_path).setup()
    with pytest.raises(UserError, match="is not a folder"):
        build("ds2", tmp_path / "none").setup()


def test_two_files_of_one_name_must_be_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        build("calogan").write_toy(tmp_path / folder, 5)
    with pytest.raises(UserError, match=r"eplus\.hdf5 is there 2 times below"):
        build("calogan", tmp_path).setup()


def test_a_bad_file_stops_the_module_with_the_reader_s_sentence(tmp_path: Path) -> None:
    build("ds1_photons").write_toy(tmp_path, 10)
    with h5py.File(tmp_path / "dataset_1_photons_2.hdf5", "r+") as file:
        file["showers"][3, 5] = -1.0
    with pytest.raises(
        UserError, match=r"dataset_1_photons_2\.hdf5: key 'showers' holds negative values"
    ):
        build("ds1_photons", tmp_path).setup()


def test_an_unknown_cache_mode_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"data\.cache must be one of auto, always, never, got 'sometimes'"
    ):
        build("ds1_photons", cache="sometimes")


def test_a_total_holds_training_and_validation_and_leaves_the_test_as_it_is(tmp_path: Path) -> None:
    build("pbwo4").write_toy(tmp_path, 50)
    whole, few = build("pbwo4", tmp_path), build("pbwo4", tmp_path, total=20, validation=0.2)
    assert few.sizes() == {"train": 16, "val": 4, "test": 50}
    assert rows(few, "test") == rows(whole, "test")
    assert not set(rows(few, "train")) & set(rows(few, "val"))
    other = build("pbwo4", tmp_path, total=20, validation=0.2, window=1)
    seen, others = ({*rows(m, "train"), *rows(m, "val")} for m in (few, other))
    assert not seen & others
    last = build("pbwo4", tmp_path, total=20, validation=0.2, window=2)
    assert (
        len(seen & {*rows(last, "train"), *rows(last, "val")}) == 10
    )  # 40 to 49, then the first ten


def test_a_total_counts_events_of_a_validation_file_too(tmp_path: Path) -> None:
    build("pbwo4").write_toy(tmp_path, 30)
    files = {"train": ["pbwo4.hdf5"], "val": ["pbwo4_test.hdf5"], "test": ["pbwo4_test.hdf5"]}
    few = build("pbwo4", tmp_path, total=10, validation=0.2, files=files)
    assert few.sizes() == {"train": 8, "val": 2, "test": 30}
    assert set(rows(few, "val")) <= set(rows(few, "test"))


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"give data\.total, too"):
        build("pbwo4", window=1)
