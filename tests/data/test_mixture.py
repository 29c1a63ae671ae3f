"""Mixtures: labels, shares, one scale for all members, files with labels, and what cannot be mixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from simulacra import data
from simulacra.core import Batch, FormatError, IncompatibleError, UserError
from simulacra.data.mixture import MixtureDataModule
from simulacra.data.sampler import EpochLoader, ShareSampler
from simulacra.data.source import MemorySource, Part
from support import composed

MEMBERS = ("pb_lar", "pbwo4", "pb_sci", "w_si")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy files of all members, 20 showers each for training and for the test."""
    found = tmp_path_factory.mktemp("mixture")
    mixture().write_toy(found, 20)
    return found


def mixture(folder: Path | None = None, *overrides: str) -> MixtureDataModule:
    root = () if folder is None else (f"data.root={folder}",)
    module = data.build(composed("data", "data=mixture", *root, *overrides))
    assert isinstance(module, MixtureDataModule)
    return module


def numbers(batch: Batch) -> list[int]:
    label = batch.cond["detector"]
    assert label.dtype == torch.int64
    assert label.shape == (len(batch), 1)
    return label[:, 0].tolist()


def test_each_shower_bears_the_label_of_its_calorimeter(folder: Path) -> None:
    module = mixture(folder)
    batch = module.batch(1000, "test")
    module.spec.validate(batch)
    assert Counter(numbers(batch)) == dict.fromkeys(range(4), 20)
    for number, name in enumerate(MEMBERS):
        own = batch[batch.cond["detector"][:, 0] == number]
        file = module.members[name].format.read(folder / f"{name}_test.hdf5")
        assert torch.equal(own.x, file.x)
        assert torch.equal(own.cond["incident_energy"], file.cond["incident_energy"])


def test_classes_are_those_of_all_members_and_spare_ones() -> None:
    (field,) = mixture(None, "data.using=[w_si]").spec.conditions[1:]
    assert field.classes == (*MEMBERS, "spare_1")
    assert (field.role, field.width) == ("class", 5)


def test_an_epoch_without_shares_shows_every_training_event_once(folder: Path) -> None:
    module = mixture(folder, "data.batch_size=6")
    batches = list(module.train_dataloader())
    seen = torch.cat([batch.x.flatten(1).sum(1) for batch in batches])
    assert len(seen) == len(module.part("train")) == 4 * 18
    assert len(seen.unique()) == len(seen)


def test_shares_hold_in_every_batch_in_statistics_and_in_conditions(folder: Path) -> None:
    shares = "data.shares={pb_lar:1,pbwo4:1,pb_sci:1,w_si:5}"
    module = mixture(folder, shares, "data.batch_size=16", "data.eval_batch_size=24")
    for batch in module.train_dataloader():
        found = Counter(numbers(batch))
        assert all(abs(found[k] - want) <= 1 for k, want in enumerate((2, 2, 2, 10)))
    for batch in module.fit_batches():
        assert Counter(numbers(batch))[3] == 15
    drawn = module.conditions(2000, torch.Generator().manual_seed(0), "train").values["detector"]
    assert abs(int((drawn == 3).sum()) - 1250) < 4 * 22
    assert module.sizes()["test"] == 80  # whose events count once each


def test_parts_that_judge_are_those_of_the_members_that_are_asked_for(folder: Path) -> None:
    module = mixture(folder, "data.judged_on=[pb_sci]")
    assert {*numbers(module.batch(1000, "val")), *numbers(module.batch(1000, "test"))} == {2}
    assert {*numbers(module.batch(1000))} == {0, 1, 2, 3}


def test_a_condition_has_the_range_of_all_members_also_of_those_that_are_not_used() -> None:
    wide = "data.members.pb_lar.format.spec.detector.gun.energy=[0.5,100]"
    module = mixture(None, wide, "data.using=[w_si]")
    field = module.spec.field("incident_energy")
    assert (field.low, field.high) == (500.0, 1e5)
    assert [prior.values for prior in module.spec.prior] == [(1000.0, 20000.0), (3.0,)]
    assert [prior.name for prior in mixture(None, wide).spec.prior] == ["detector"]


def test_numbers_tell_calorimeters_apart_as_physics_does() -> None:
    module = mixture(None, "data/label=numbers")
    found = {
        name: [float(v) for v in module.label.values(name, MEMBERS).values()] for name in MEMBERS
    }
    # crystals see all of the energy; lengths of PbWO4 as of the Particle Data Group [mm]
    assert found["pbwo4"] == pytest.approx([1.0, 8.9, 20.0], rel=0.005)
    assert found["w_si"][0] == pytest.approx(1 / 31.0)
    assert found["pb_sci"][0] == pytest.approx(1 / 5.7)
    # presampler of 11 mm with scale 8, 78 gaps of 4.2 mm with scale 4.2
    assert found["pb_lar"][0] == pytest.approx((11 / 8 + 78) / (11 + 78 * 4.2))
    for field, column in zip(
        module.spec.conditions[1:], zip(*found.values(), strict=True), strict=True
    ):
        assert field.log
        assert field.low is not None
        assert field.high is not None
        assert all(field.low < value <= field.high for value in column)


@pytest.mark.parametrize("label", ["classes", "numbers"])
def test_labels_survive_a_file(folder: Path, tmp_path: Path, label: str) -> None:
    module = mixture(folder, f"data/label={label}")
    batch = module.batch(12, "test")
    module.format.write(tmp_path / "mixed.hdf5", batch)
    back = module.format.read(tmp_path / "mixed.hdf5")
    assert torch.equal(back.x, batch.x)
    assert back.cond.keys() == batch.cond.keys()
    for name, value in batch.cond.items():
        assert torch.equal(back.cond[name], value)
        assert back.cond[name].dtype == value.dtype
    module.spec.validate(back)


def test_files_without_labels_are_read_where_one_calorimeter_is_used(folder: Path) -> None:
    file = folder / "w_si_test.hdf5"
    assert set(numbers(mixture(None, "data.using=[w_si]").format.read(file))) == {3}
    with pytest.raises(FormatError, match="detector"):
        mixture().format.read(file)


def test_a_class_that_does_not_exist_is_refused(folder: Path, tmp_path: Path) -> None:
    module = mixture(folder)
    module.format.write(tmp_path / "mixed.hdf5", module.batch(4, "test"))
    with h5py.File(tmp_path / "mixed.hdf5", "a") as file:
        file["detector"][2] = 5
    with pytest.raises(FormatError, match="holds 5, expected the number of a class from 0 to 4"):
        module.format.read(tmp_path / "mixed.hdf5")


def sampler(rank: int = 0, world: int = 1, batch: int = 8, shares: Sequence[float] = (3, 1)) -> Any:
    return ShareSampler([torch.arange(30), torch.arange(30, 64)], shares, batch, 5, rank, world)


def test_a_small_group_returns_only_after_all_of_it_was_seen() -> None:
    seen = Counter(position for batch in sampler() for position in batch)
    small = [seen[position] for position in range(30)]  # fills 48 of 64 places
    assert set(small) == {1, 2}
    assert max(seen[position] for position in range(30, 64)) == 1


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_an_epoch_and_each_batch_has_the_shares(world: int) -> None:
    ranks = [list(sampler(rank, world, shares=(1, 1))) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {64 // world // 8} == {len(sampler(0, world))}
    for batch in (batch for batches in ranks for batch in batches):
        assert sum(position < 30 for position in batch) == 4
    together = Counter(position for batches in ranks for batch in batches for position in batch)
    assert max(together[position] for position in range(30, 64)) == 1


def test_an_epoch_in_shares_goes_on_where_it_was_left() -> None:
    part = Part(MemorySource(Batch(torch.arange(64.0).view(-1, 1))), torch.arange(64))

    def seen(loader: EpochLoader, epoch: int) -> list[list[float]]:
        loader.sampler.set_epoch(epoch)
        return [batch.x.flatten().tolist() for batch in loader]

    def made() -> EpochLoader:
        return EpochLoader(part, sampler=sampler(), batch_size=None)

    whole, resumed = seen(made(), 2), made()
    assert whole == seen(made(), 2)
    assert whole != seen(made(), 3)
    resumed.load_state_dict({"epoch": 2, "batches": 3})
    assert seen(resumed, 2) == whole[3:]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.using=[lead]", r"data\.using names some of pb_lar, pbwo4, pb_sci, w_si, got lead"),
        ("data.using=[]", r"got none"),
        ("data.judged_on=[lead]", r"data\.judged_on names some of"),
        ("data.members.w_si.view=cloud", "leave data.members.w_si.view out"),
        ("data.shares={w_si:1}", "give each of them a share"),
        ("data.shares={pb_lar:1,pbwo4:1,pb_sci:1,w_si:0}", "above 0"),
    ],
)
def test_names_that_are_no_member_s_are_refused_in_a_sentence(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        mixture(None, override)
    assert "\n" not in str(error.value)


def test_members_on_other_meshes_are_refused() -> None:
    with pytest.raises(IncompatibleError, match=r"w_si cannot be mixed, as they differ in shape"):
        mixture(None, "data.members.w_si.format.spec.detector.mesh.depths=10")
    turned = (
        "data.members.w_si.format.spec.detector.mesh={angles:6,depths:20,radii:[0,1,2,3,4,5,6,7,8]}"
    )
    with pytest.raises(IncompatibleError, match="same mesh"):
        mixture(None, turned)


def test_a_calorimeter_of_which_nothing_is_known_has_no_numbers() -> None:
    config = composed("data", "data=mixture", "data/label=numbers")
    known = {name: value for name, value in config["label"]["detectors"].items() if name != "w_si"}
    module = data.build({**config, "label": {**config["label"], "detectors": known}})
    with pytest.raises(UserError, match=r"give data\.label\.detectors\.w_si"):
        _ = module.spec


def test_a_saved_mixture_runs_no_foreign_code() -> None:
    config = composed("data", "data=mixture", "data/label=numbers")
    assert data.build(config, trusted=False).spec.n_voxels == 960
    with pytest.raises(UserError, match="was not run"):
        data.build({**config, "label": {"_target_": "os.getcwd"}}, trusted=False)
