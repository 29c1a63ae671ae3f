"""Hashes of events: what enters, what does not, and which rows are known again."""

from __future__ import annotations

from dataclasses import replace

import torch

from simulacra.core import Batch
from simulacra.core.rows import Learnt, folds_of, known, row_hashes


def events(n: int, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    event = {"kind": torch.randint(3, (n, 1), generator=g)}
    return Batch(torch.randn(n, 4, generator=g), {"e": torch.rand(n, 1, generator=g)}, event)


def learnt(hashes: torch.Tensor) -> list[Learnt]:
    return [Learnt(hashes.sort().values)]


def test_equal_events_have_equal_hashes_whatever_stands_around_them() -> None:
    batch = events(50)
    whole = row_hashes(batch)
    assert torch.equal(whole, torch.cat([row_hashes(batch[i : i + 7]) for i in range(0, 50, 7)]))
    weighted = replace(batch, weight=torch.rand(50))
    assert torch.equal(row_hashes(weighted), whole)
    named = Batch(batch.x, batch.cond, {"label": torch.ones(50, 1), **batch.event})
    assert torch.equal(row_hashes(named, ("label",)), whole)
    zero = replace(batch, x=torch.where(batch.x > 0, batch.x, 0.0))
    minus = replace(zero, x=torch.where(zero.x == 0, -0.0, zero.x))
    assert torch.equal(row_hashes(minus), row_hashes(zero))


def test_every_number_counts_to_its_last_bit_and_at_its_place() -> None:
    batch = events(20)
    whole = row_hashes(batch)
    x = torch.nextafter(batch.x, torch.tensor(9.0))
    for column in range(4):
        moved = batch.x.clone()
        moved[:, column] = x[:, column]
        assert not bool((row_hashes(replace(batch, x=moved)) == whole).any())
    assert not bool((row_hashes(replace(batch, x=batch.x.roll(1, 1))) == whole).any())
    others = {"cond": {"e": batch.cond["e"] + 1}}, {"event": {"kind": batch.event["kind"] + 1}}
    for change in others:
        assert not bool((row_hashes(replace(batch, **change)) == whole).any())


def test_events_of_few_bits_do_not_collide_and_fall_evenly_into_folds() -> None:
    grid = torch.cartesian_prod(*[torch.arange(8.0)] * 5)
    hashes = row_hashes(Batch(grid))
    assert len(hashes.unique()) == len(grid)
    counts = torch.bincount(folds_of(hashes, 5)).double()
    assert len(counts) == 5
    assert float(((counts - len(grid) / 5) ** 2 / (len(grid) / 5)).sum()) < 25  # chi2 of 4


def test_one_row_that_was_learnt_is_known() -> None:
    old, new = row_hashes(events(1000)), row_hashes(events(1000, 1))
    assert known(new, learnt(old)) == 0
    assert known(torch.cat([new, old[:1]]), learnt(old)) == 1
    assert known(old, learnt(old)) == 1000
    assert known(old[:0], learnt(old)) == 0


def test_rows_of_few_values_repeat_by_chance_and_only_more_than_that_are_known() -> None:
    """10,000 rows of 20,000 possible ones: a new row is one of those that are there once in 0.3 of cases."""

    def draw(seed: int, n: int) -> torch.Tensor:
        g = torch.Generator().manual_seed(seed)
        return row_hashes(Batch(torch.randint(20_000, (n, 1), generator=g).float()))

    old = draw(0, 10_000)
    for seed in range(1, 6):
        assert known(draw(seed, 5000), learnt(old)) == 0
        assert known(draw(seed, 20), learnt(old)) == 0
    assert known(old[:5000], learnt(old)) > 2000


def test_each_sample_repeats_on_its_own() -> None:
    """The same events as both samples are known, though each is there twice."""
    old = row_hashes(events(100))
    assert known(old, [*learnt(old), *learnt(old)]) == 100
