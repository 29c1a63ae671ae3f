"""The table of 26 observables against a plain loop over features and batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from simulacra.core import Batch
from simulacra.metrics.engine.columns import one_of_each, table
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.metrics.protocols.caloclouds import (
    GROUPS,
    BatchedWasserstein,
    batched_wasserstein,
    caloclouds_score,
    combine,
    observables,
)
from simulacra.physics.base import ObservableSet


def rows(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator, dtype=torch.float64) * 2 + 5 + shift


def test_distances_per_batch_are_those_of_a_loop() -> None:
    a, b = rows(107, 0), rows(95, 1, 0.4)
    a[5, 1] = math.nan
    found = batched_wasserstein(a, b, 4, 20, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    first, second = (r[torch.randperm(len(r), generator=generator)].numpy() for r in (a, b))
    mean, scale = np.nanmean(a.numpy(), 0), np.nanstd(a.numpy(), 0)
    for f in range(3):
        for k in range(4):
            p, q = ((r[20 * k : 20 * k + 20, f] - mean[f]) / scale[f] for r in (first, second))
            expected = wasserstein_distance(p[np.isfinite(p)], q)
            assert float(found[f, k]) == pytest.approx(expected, rel=1e-10)
    assert batched_wasserstein(a, b, 4, 50_000).shape == (3, 4)
    with pytest.raises(NotRun, match="10 batches need 20 events"):
        batched_wasserstein(a[:12], b)


def test_a_shift_by_one_deviation_scores_one() -> None:
    a = torch.linspace(-1, 1, 4000, dtype=torch.float64)[:, None]
    found = batched_wasserstein(a, a + a.std(unbiased=False), 1)
    assert float(found) == pytest.approx(1.0, abs=1e-9)


def test_a_group_has_the_mean_of_its_values_and_the_root_of_summed_variances() -> None:
    distances = torch.tensor([[0.1, 0.3], [0.2, 0.2], [0.5, 0.9]], dtype=torch.float64)
    found = combine(distances)
    assert found.value == pytest.approx(2.2 / 6)
    assert found.error == pytest.approx(math.sqrt(0.1**2 + 0 + 0.2**2))


def test_metric_over_batches_is_the_function_of_all_events() -> None:
    a, b = rows(90, 0), rows(80, 1)
    metric = BatchedWasserstein(4, 20, seed=3)
    for start in (0, 40):
        metric.update(a[start : start + (40 if start == 0 else 50)], b[start : start + 40])
    expected = batched_wasserstein(a, b, 4, 20, torch.Generator().manual_seed(3))
    torch.testing.assert_close(metric.compute(), expected)


@pytest.fixture(scope="module")
def showers(toy) -> tuple[Judged, ObservableSet, Batch]:  # type: ignore[no-untyped-def]
    module = toy("ild_cloud")
    batch = Batch.cat([module.batch(30, "train"), module.batch(10, "test")])
    return judged(batch, module.observables), module.observables, batch


def test_one_hit_per_event_is_one_of_its_own(showers) -> None:  # type: ignore[no-untyped-def]
    item, *_ = showers
    drawn = one_of_each(item.sample, "hit_energy", torch.Generator().manual_seed(0))
    again = one_of_each(item.sample, "hit_energy", torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, again, equal_nan=True)
    column = item.sample.columns["hit_energy"]
    for event, value in enumerate(drawn.tolist()):
        own = column.values[column.event == event].tolist()
        assert value in own if own else math.isnan(value)
    many = torch.stack([
        one_of_each(item.sample, "hit_energy", torch.Generator().manual_seed(seed))
        for seed in range(300)
    ])[:, 0]  # fmt: skip
    own = column.values[column.event == 0]
    assert float(many.mean()) == pytest.approx(float(own.mean()), abs=4 * float(own.std()) / 17)


def test_the_table_names_26_observables_in_eight_groups(showers) -> None:  # type: ignore[no-untyped-def]
    item, *_ = showers
    found = observables(item.sample, torch.Generator().manual_seed(0))
    assert found.shape == (len(item), 26)
    torch.testing.assert_close(found[:, 3], table(item.sample, ["n_hit"])[:, 0])
    figures = caloclouds_score(item, item, 0, batches=2)
    assert set(figures) == {f"caloclouds/{name}" for name in (*GROUPS, "hits")}
    assert all(math.isfinite(figure.value) for figure in figures.values()), figures


def test_energies_scaled_by_a_fifth_are_seen(showers) -> None:  # type: ignore[no-untyped-def]
    item, judge, batch = showers
    x = batch.x.clone()
    x[..., -1] *= 1.2
    other = judged(Batch(x, batch.cond, mask=batch.mask), judge)
    found = caloclouds_score(item, other, 0, batches=2)
    floor = caloclouds_score(item, item, 0, batches=2)
    key = "caloclouds/sampling_fraction"
    assert found[key].value > 3 * floor[key].value
