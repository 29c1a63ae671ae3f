"""Maps from a source to data in regions whose answer is known."""

from __future__ import annotations

import pytest
import torch

from pair_training import train
from simulacra.core import Batch, Field, IncompatibleError
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.data.toy_regions import ToyRegions
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from simulacra.tasks.abcdnn import ABCDnn, regions
from support import made

FILES = TableFiles("toy_regions", columns_of(ToyRegions().columns))
CONTROL, TARGET = [(1, 0), (1, 1), (2, 0)], [(2, 1)]


def rows(n: int, toy: ToyRegions, cells: list[tuple[int, int]]) -> Batch:
    batch = FILES.events({name: value.float() for name, value in toy.sample(n, "train").items()})
    jets, tags = (batch.cond[name][:, 0] for name in ("jets", "tags"))
    return batch[torch.stack([(jets == j) & (tags == k) for j, k in cells]).any(0)]


def test_regions_are_told_apart_by_their_conditions() -> None:
    context = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    found = sorted(mask.tolist() for mask in regions(context))
    assert found == [[False, True, False], [True, False, True]]


def test_a_region_without_data_has_no_part_in_the_loss_and_without_any_it_is_nothing() -> None:
    module = made("abcdnn", labelled(FILES.spec))
    assert isinstance(module, ABCDnn)
    toy = ToyRegions()
    data, source = (
        rows(200, toy, [(1, 0)]),
        rows(200, ToyRegions(seed=1, jets=0.0), [(1, 0), (2, 0)]),
    )
    both = Batch.cat([with_label(data, FIRST), with_label(source, SECOND)])
    module.fit_transform([both])
    inside = both[both.cond["jets"][:, 0] == 1]
    whole, part = (module.loss(module.encode(item))["loss"] for item in (both, inside))
    torch.testing.assert_close(whole, part)
    assert float(part.detach()) > 1e-3
    alone = module.loss(module.encode(both[both.cond["jets"][:, 0] == 2]))["loss"]
    assert float(alone.detach()) == 0


def test_conditions_that_are_no_regions_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="classes or whole numbers"):
        made("abcdnn", labelled(FILES.spec.with_(conditions=(Field("mass"),))))


@pytest.mark.smoke
@pytest.mark.parametrize("interaction", [0.0, 0.5])
def test_a_region_follows_from_three_others_if_effects_add_up(interaction: float) -> None:
    """The mean follows where effects add up, and is off by the interaction where there is one."""
    nature, source = ToyRegions(interaction=interaction), ToyRegions(seed=1, jets=0.2, tags=0.1)
    module = made("abcdnn", labelled(FILES.spec), size="small")
    assert isinstance(module, ABCDnn)
    parts = (FIRST, rows(60_000, nature, CONTROL)), (SECOND, rows(120_000, source, CONTROL))
    train(module, Batch.cat([with_label(batch, number) for number, batch in parts]), 200, 600)
    moved = module.map(rows(120_000, source, TARGET)).x.mean()
    off = float(moved - rows(60_000, nature, TARGET).x.mean())
    assert off == pytest.approx(-interaction, abs=0.2)
