"""Columns of different numbers of values per event: parts and selections."""

from __future__ import annotations

import functools
import operator

import torch

from simulacra.metrics.engine.sample import Column
from simulacra.physics.base import Ragged

VALUES = [[1.0, 2.0], [], [3.0], [4.0, 5.0, 6.0], []]


def column(lists: list[list[float]]) -> Column:
    return Column(
        torch.tensor(functools.reduce(operator.iadd, lists, [])),
        torch.tensor([len(part) for part in lists]),
        False,
    )


def lists(found: Column) -> list[list[float]]:
    return [part.tolist() for part in torch.split(found.values, found.counts.tolist())]


def test_a_column_is_cut_and_selected_by_events() -> None:
    whole = column(VALUES)
    assert whole.event.tolist() == [0, 0, 2, 3, 3, 3]
    assert lists(whole.between(1, 4)) == VALUES[1:4]
    assert lists(whole.between(2, 2)) == []
    assert lists(whole.take(torch.tensor([3, 0, 4, 3]))) == [VALUES[i] for i in (3, 0, 4, 3)]
    assert lists(whole.take(torch.tensor([], dtype=torch.long))) == []


def test_undefined_scalars_are_counted_and_empty_events_are_not() -> None:
    assert column(VALUES).undefined == 0
    scalar = Column(torch.tensor([1.0, 2.0]), torch.tensor([1, 0, 1]), True)
    assert scalar.undefined == 1
    assert scalar.event.tolist() == [0, 2]
    assert scalar.between(1, 3).undefined == 1


def test_finite_values_of_a_table_become_ragged() -> None:
    nan = float("nan")
    found = Ragged.of(torch.tensor([[1.0, nan], [nan, nan], [2.0, 3.0]]))
    assert found.values.tolist() == [1.0, 2.0, 3.0]
    assert found.counts.tolist() == [1, 0, 2]
    full = Ragged.of(torch.ones(2, 3))
    assert full.counts.tolist() == [3, 3]
    assert full.values.shape == (6,)
