"""The boosted judge on cells and points: its inputs by definition, and what it sees that others do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulacra import data
from simulacra.core import Batch, Spec
from simulacra.metrics.classifiers.boosted import VERSION, boosted_score
from simulacra.metrics.classifiers.boosted_low import (
    MOST_INPUTS,
    Cells,
    Leading,
    boosted_low_score,
    reduction,
)
from simulacra.metrics.engine.score import NotRun, judged
from support import composed

SETS = ["ds1_photons", "ds2", "calogan", "ild", "ild_cloud", "jetnet30", "jetclass", "pxd_small"]


@pytest.mark.parametrize("name", SETS)
def test_every_kind_of_data_has_a_few_hundred_inputs(
    name: str, toy: Callable[..., data.EventDataModule]
) -> None:
    module = toy(name)
    truth = module.batch(20, "test")
    inputs = reduction(module.spec, truth)(truth)
    assert len(inputs) == len(truth)
    assert 5 < inputs.shape[1] <= MOST_INPUTS + 3
    assert not torch.isinf(inputs).any()
    if module.spec.kind != "cloud":
        assert inputs.isfinite().all()


def image(layers: int, rows: int, cols: int, cut: float = 0.0) -> Spec:
    return Spec("toy", "image", (layers, rows, cols), "ADU", cut=cut)


def test_few_cells_stand_on_their_own_over_the_sum_of_their_layer() -> None:
    spec = image(2, 2, 2, cut=1.0)
    x = torch.tensor([[[[1.0, 0.5], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    found = Cells.of(spec, Batch(x, {}))(Batch(x, {}))
    assert found[0].tolist() == [4.0, 0.0, 0.25, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_of_many_cells_the_largest_are_single_and_the_rest_is_summed_nearby() -> None:
    """600 cells of two layers: 199 of them and 99 runs of each layer."""
    spec, generator = image(2, 10, 30), torch.Generator().manual_seed(0)
    mean = torch.rand(600, generator=generator)
    x = torch.rand(300, 600, generator=generator) * mean
    batch = Batch(x.view(-1, 2, 10, 30), {})
    cells = Cells.of(spec, batch)
    found = cells(batch)
    assert found.shape == (300, 2 + 199 + 2 * 99)
    largest = set(x.double().sum(0).topk(199).indices.tolist())
    alone = (cells.place >= 198).nonzero()[:, 0]
    assert set(alone.tolist()) == largest
    shares = x.double().view(300, 2, 300) / x.double().view(300, 2, 300).sum(2, keepdim=True)
    torch.testing.assert_close(found[:, 2:200].sum(1) + found[:, 200:].sum(1), shares.sum((1, 2)))
    number = torch.arange(600)
    for run in (0, 57, 130, 197):
        members = ((cells.place == run) & (cells.place < 198)).nonzero()[:, 0]
        inside = (number // 300 == run // 99) & (number % 300 * 99 // 300 == run % 99)
        assert set(members.tolist()) == set(number[inside].tolist()) - largest
        torch.testing.assert_close(found[:, 2 + run], shares.flatten(1)[:, members].sum(1))


def test_points_are_sorted_by_energy_and_those_that_are_absent_are_unknown() -> None:
    module = data.build(composed("data", "data=jetnet30"))
    x = torch.zeros(1, 30, 3)
    x[0, 0], x[0, 1] = torch.tensor([0.1, -0.1, 0.2]), torch.tensor([-0.3, 0.2, 0.6])
    batch = Batch(x, {}, mask=torch.arange(30)[None] < 2)
    found = Leading.of(module.spec)(batch)[0]
    expected = [2.0, 0.8, 0.0, -0.3, 0.2, 0.75, 0.1, -0.1, 0.25]
    assert found[:9].tolist() == pytest.approx(expected, abs=1e-6)
    assert found[9:].isnan().all()
    order = torch.randperm(30)
    shuffled = Batch(x[:, order], {}, mask=(torch.arange(30) < 2)[None, order])
    torch.testing.assert_close(Leading.of(module.spec)(shuffled)[0], found, equal_nan=True)


def test_a_table_has_nothing_below_its_columns() -> None:
    module = data.build(composed("data", "data=table"))
    with pytest.raises(NotRun, match="a table has nothing below"):
        reduction(module.spec, module.batch(10))


def test_cells_that_fluctuate_at_kept_layer_energies_are_seen_by_this_judge_alone() -> None:
    module = data.build(composed("data", "data=ds1_photons"))
    truth, other = module.batch(500, "test"), module.batch(500)
    geometry = module.spec.geometry
    assert geometry is not None
    flat = other.x.flatten(1)
    noise = torch.randn(flat.shape, generator=torch.Generator().manual_seed(0)).mul(0.6).exp()
    before, after = geometry.layer_sums(flat), geometry.layer_sums(flat * noise)
    kept = geometry.spread(before / after.clamp_min(1e-30))
    changed = Batch((flat * noise * kept).view(other.x.shape), other.cond)
    pair = judged(truth, module.observables), judged(changed, module.observables)
    low, high = boosted_low_score(*pair, 0), boosted_score(*pair, 0)
    assert low["classifier/boosted_low/auc"].value > 0.6
    assert high["classifier/boosted/auc"].value < low["classifier/boosted_low/auc"].value - 0.05
    for name, found in (("boosted_low", low), ("boosted", high)):
        assert found[f"classifier/{name}/version"].value == VERSION == 2
        assert found[f"classifier/{name}/auc"].floor == 0.5
