"""A curriculum of energies: its order, its stretches, ranks, and that it goes on where it was left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simulacra import data, dataset
from simulacra.core import Batch, UserError
from simulacra.data.curriculum import Curriculum, CurriculumSampler, outwards
from simulacra.data.sampler import EpochLoader, EpochSampler
from simulacra.data.source import MemorySource, Part
from support import composed

SIZES = (10, 40, 30, 20)
GROUPS = list(torch.arange(100).split(SIZES))
ENERGY = torch.repeat_interleave(torch.arange(4), torch.tensor(SIZES))


def sampler(epoch: int = 0, first: int = 12, each: int = 5, **changes: int) -> CurriculumSampler:
    made = CurriculumSampler(
        GROUPS, Curriculum(first, each), **{"batch_size": 10, "seed": 1, **changes}
    )
    made.set_epoch(epoch)
    return made


def opened(batch: list[int]) -> set[int]:
    return set(ENERGY[batch].tolist())


def test_energies_come_from_the_middle_one_on_alternately_up_and_down() -> None:
    assert outwards(15) == [7, 8, 6, 9, 5, 10, 4, 11, 3, 12, 2, 13, 1, 14, 0]
    assert outwards(4) == [2, 3, 1, 0]  # what is left of one side goes on alone
    assert outwards(1) == [0]


def test_a_further_energy_opens_when_the_curriculum_says() -> None:
    curriculum = Curriculum(first=50, each=20)
    assert [curriculum.open(k) for k in (0, 49, 50, 69, 70, 110)] == [1, 1, 2, 2, 3, 5]
    for energies in (1, 2, 5):
        length = curriculum.length(energies)
        assert curriculum.open(length) >= energies
        assert length == 0 or curriculum.open(length - 1) < energies


def test_batches_hold_what_is_open_and_all_of_it_in_turn() -> None:
    """Ten batches an epoch; the second energy opens in the third batch of the second epoch."""
    first, second, third = (list(sampler(epoch)) for epoch in range(3))
    assert all(opened(batch) == {2} for batch in (*first, *second[:2]))
    counts = torch.bincount(torch.tensor(first).flatten(), minlength=100)[60 - 10 : 80]
    assert counts.tolist() == counts.clamp(3, 4).tolist()  # 30 events in 100 places
    assert all(opened(batch) <= {2, 3} for batch in second[2:7])
    assert any(3 in opened(batch) for batch in second[2:7])
    assert all(opened(batch) <= {1, 2, 3} for batch in (*second[7:], *third[:2]))
    assert any(0 in opened(batch) for batch in third[2:])


def test_with_all_energies_open_an_epoch_is_as_without_a_curriculum() -> None:
    plain = EpochSampler(100, 10, 1, True)
    for epoch in (3, 4):
        plain.set_epoch(epoch)
        assert list(sampler(epoch)) == list(plain)
    assert list(sampler(2)) != list(plain)


@pytest.mark.parametrize("world", [1, 2])
def test_ranks_share_the_events_and_every_batch_is_full(world: int) -> None:
    ranks = [list(sampler(1, rank=rank, world=world, batch_size=5)) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(len(batch) == 5 for batches in ranks for batch in batches)
    if world == 2:
        assert ranks[0] != ranks[1]
        first = [position for batches in ranks for batch in batches[:2] for position in batch]
        assert len(set(first)) == len(first)  # of one pass


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert list(sampler(1)) == list(sampler(1))
    assert list(sampler(1)) != list(sampler(1, seed=2))
    assert list(sampler(0)) != list(sampler(1))


def test_an_interrupted_epoch_goes_on_in_the_same_stretch() -> None:
    def loader() -> EpochLoader:
        batch = Batch(torch.arange(100.0).view(-1, 1))
        return EpochLoader(
            Part(MemorySource(batch), torch.arange(100)), sampler=sampler(), batch_size=None
        )

    def seen(made: EpochLoader, n: int | None = None) -> list[list[float]]:
        batches = iter(made)
        made.sampler.set_epoch(1)
        return [next(batches).x[:, 0].tolist() for _ in range(10 if n is None else n)]

    whole, left = seen(loader()), loader()
    begun = seen(left, 4)
    resumed = loader()
    resumed.load_state_dict(left.state_dict())
    assert begun + seen(resumed, 6) == whole


@pytest.fixture
def photons(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Toy files of data set 1, whose incident energies are some of 15."""
    dataset("ds1_photons").write_toy(tmp_path, 300)
    changes = ("data=ds1_photons", f"data.root={tmp_path}", "data.batch_size=20")
    curriculum = ("+curriculum@data.curriculum=sequential", "data.curriculum.first=5")
    return data.build(composed("data", *changes, *curriculum, "data.curriculum.each=2"))


def test_a_data_set_of_files_begins_with_its_middle_energy(photons) -> None:  # type: ignore[no-untyped-def]
    loader = photons.train_dataloader()
    energies = photons.batch(10_000).cond["incident_energy"].unique()
    batches = list(loader)
    middle = float(energies[len(energies) // 2])
    assert all(batch.cond["incident_energy"].unique().tolist() == [middle] for batch in batches[:5])
    later = torch.cat([batch.cond["incident_energy"] for batch in batches[5:]])
    assert len(later.unique()) > 1
    assert len(photons.val_dataloader().sampler.order()) == photons.sizes()["val"]


def test_data_without_single_energies_are_refused(tmp_path: Path) -> None:
    for name, text in (
        ("ds2", "takes in one incident energy"),
        ("jetnet30", "needs incident energies"),
    ):
        (tmp_path / name).mkdir()
        dataset(name).write_toy(tmp_path / name, 200)
        changes = (f"data={name}", f"data.root={tmp_path / name}")
        made = data.build(composed("data", *changes, "+curriculum@data.curriculum=sequential"))
        with pytest.raises(UserError, match=text):
            made.train_dataloader()


def test_a_member_of_several_data_sets_has_no_curriculum() -> None:
    changes = ("data=pair", "+curriculum@data.first.curriculum=sequential")
    with pytest.raises(UserError, match=r"first.curriculum is of no use"):
        data.build(composed("data", *changes))
