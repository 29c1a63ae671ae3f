"""Which events are in which part, and streams of random numbers of their own."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch
from simulacra.evaluation.conditions import BLOCK, Spread, _blocks
from simulacra.evaluation.shards import CONDITIONS, NOISE, Shard, stream
from simulacra.metrics.engine.events import Joined


@pytest.mark.parametrize("of", [1, 3, 7, 16])
def test_every_batch_is_in_one_shard(of: int) -> None:
    found = [Shard(number, of).batches(1601, 100) for number in range(1, of + 1)]
    assert [batch for part in found for batch in part] == list(range(17))
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1


def test_streams_differ_by_seed_purpose_and_place() -> None:
    places = [
        (seed, kind, number) for seed in (0, 1) for kind in (NOISE, CONDITIONS) for number in (0, 1)
    ]
    draws = {
        float(torch.rand(1, generator=stream(*place), dtype=torch.float64)) for place in places
    }
    assert len(draws) == len(places)
    again = [torch.randn(5, generator=stream(4, NOISE, 2, 3)) for _ in range(2)]
    assert torch.equal(*again)


def test_conditions_of_a_part_are_those_of_the_whole() -> None:
    def made(part: range) -> torch.Tensor:
        source = lambda block: stream(5, CONDITIONS, block)  # noqa: E731
        fields = {"e": Spread("uniform", 0.0, 1.0)}
        blocks = _blocks(Given(), fields, False, total, source, part)
        return torch.cat([block.values["e"] for block in blocks])

    total = 2 * BLOCK + 500
    whole = made(range(total))
    assert len(whole) == total
    for part in (
        range(10),
        range(BLOCK - 5, BLOCK + 7),
        range(BLOCK, 2 * BLOCK),
        range(9000, total),
    ):
        assert torch.equal(made(part), whole[part.start : part.stop])


class Given:
    """A generator that is given one field."""

    given = ("e",)


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_joined_events_are_read_as_one_sample(step: int) -> None:
    x = torch.arange(20.0).view(-1, 1)
    whole = Batch(x, {"e": x})
    joined = Joined([whole[range(6)], whole[range(6, 7)], whole[range(7, 20)]])
    assert len(joined) == 20
    for start, stop in ((0, 20), (3, 17), (6, 7), (5, 6), (19, 20), (4, 4)):
        index = range(start, stop, step)
        assert torch.equal(joined[index].x[:, 0], x[list(index), 0])
