import pytest
import torch

from simulacra.core import Batch
from simulacra.data.sampler import EpochLoader, EpochSampler
from simulacra.data.source import MemorySource, Part


def test_every_evaluation_event_is_seen_once_over_all_ranks() -> None:
    seen = [
        i for rank in range(3) for batch in EpochSampler(101, 8, 0, False, rank, 3) for i in batch
    ]
    assert sorted(seen) == list(range(101))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_ranks_are_disjoint_and_have_equally_many_full_batches(world: int) -> None:
    samplers = [EpochSampler(100, 8, 0, True, rank, world) for rank in range(world)]
    batches = [list(sampler) for sampler in samplers]
    assert len({len(b) for b in batches}) == 1
    assert [len(s) for s in samplers] == [len(b) for b in batches]
    seen = [i for rank in batches for batch in rank for i in batch]
    assert len(set(seen)) == len(seen)
    assert all(len(batch) == 8 for rank in batches for batch in rank)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = EpochSampler(64, 8, seed, True)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


def test_a_part_smaller_than_a_batch_still_trains() -> None:
    assert [len(batch) for batch in EpochSampler(5, 8, 0, True)] == [5]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_where_it_was_left(workers: int) -> None:
    def made() -> EpochLoader:
        part = Part(MemorySource(Batch(torch.arange(24.0).view(-1, 1))), torch.arange(24))
        sampler = EpochSampler(24, 4, 1, True)
        return EpochLoader(part, sampler=sampler, batch_size=None, num_workers=workers)

    def seen(loader: EpochLoader, epoch: int, n: int | None = None) -> list[list[float]]:
        batches = iter(loader)
        loader.sampler.set_epoch(epoch)  # as the trainer does, after it has made the iterator
        return [next(batches).x.flatten().tolist() for _ in range(len(loader) if n is None else n)]

    loader = made()
    whole = [seen(loader, epoch) for epoch in (2, 3)]
    assert whole[0] != whole[1]
    left = made()
    begun = seen(left, 2, 4)
    resumed = made()
    resumed.load_state_dict(left.state_dict())
    assert begun + seen(resumed, 2, 2) == whole[0]
    assert resumed.state_dict() == {"epoch": 2, "batches": 6}
    assert seen(resumed, 3) == whole[1]  # the next epoch is whole


def test_what_was_done_of_an_epoch_is_not_left_out_of_another_one() -> None:
    sampler = EpochSampler(24, 4, 1, True)
    sampler.skip(2, 6)
    sampler.set_epoch(3)
    assert len(list(sampler)) == 6


def test_an_epoch_of_several_passes_shows_each_event_as_often() -> None:
    sampler = EpochSampler(10, 4, 3, True, passes=3)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [4] * 6
    assert len(sampler) == 6
    for number in range(3):  # two events of each pass fill no batch
        assert len(set(batches[2 * number] + batches[2 * number + 1])) == 8
    assert batches[:2] != batches[2:4]
    assert batches[:2] == list(EpochSampler(10, 4, 3, True))
    few = EpochSampler(3, 8, 3, True, passes=2)
    assert [sorted(batch) for batch in few] == [[0, 1, 2], [0, 1, 2]]
    shared = [list(EpochSampler(20, 5, 3, True, rank, 2, passes=2)) for rank in range(2)]
    for number in (slice(0, 2), slice(2, 4)):
        seen = [i for batches in shared for batch in batches[number] for i in batch]
        assert sorted(seen) == list(range(20))
