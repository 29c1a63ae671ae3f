import pytest

from simulacra.data.sampler import EpochSampler


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
