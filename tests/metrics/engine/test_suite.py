"""The evaluation: its keys, its floors, its errors, and what it does with what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Field, Prior, Spec, UserError
from simulacra.metrics import Evaluator, evaluate
from simulacra.metrics.engine.binning import Binned, Binning
from simulacra.metrics.engine.compare import compare
from simulacra.metrics.engine.floors import floors
from simulacra.metrics.engine.sample import reduce
from simulacra.physics.base import Axis, Image, ObservableSet, Profile

ENERGY = Field("incident_energy", "GeV", low=1.0, high=100.0, log=True, role="energy")
TABLE = Spec(
    "toy", "table", (4,), "GeV", tuple(Field(f"f{i}") for i in range(4)), (ENERGY,),
    prior=(Prior("incident_energy", "loguniform", (1.0, 100.0)),),
)  # fmt: skip


class Toy(ObservableSet):
    """Four numbers per event, of which the last is undefined where it is negative."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        f = batch.x.unbind(1)
        last = torch.where(f[3] < 0, torch.nan, f[3])
        return {"first": f[0], "second": f[1], "last": last, "all": batch.x}

    def axes(self) -> dict[str, Axis]:
        return {name: Axis(name, "GeV", 20) for name in ("first", "second", "last", "all")}

    def features(self, batch: Batch) -> Tensor:
        return batch.x

    def response(self, batch: Batch) -> tuple[Tensor, Tensor]:
        energy = batch.cond["incident_energy"][:, 0]
        return energy, energy * (1 + 0.1 * batch.x[:, 0])

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        return {"columns": Profile(batch.x.abs(), torch.arange(5.0), Axis("column"), "mean", "GeV")}

    def images(self, batch: Batch) -> dict[str, Image]:
        values = (batch.weight_or_one().double() @ batch.x.double().abs()).view(2, 2)
        edges = (torch.arange(3.0), torch.arange(3.0))
        return {"square": Image(values, edges, (Axis("row"), Axis("column")), "square", "GeV")}


def events(n: int, seed: int, scale: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator) * scale
    return Batch(x, {"incident_energy": TABLE.prior[0].draw(n, generator)})


def test_keys_are_flat_and_each_figure_has_an_error_and_a_floor() -> None:
    result = evaluate(events(800, 0), events(700, 1), Toy(TABLE), truth=events(2500, 2))
    metrics = result.metrics
    for key in (
        "w1/first",
        "separation/second",
        "w1_mean",
        "profile/columns",
        "correlation",
        "classifier/boosted/auc",
    ):
        assert {f"test/{key}", f"test/{key}/error", f"test/{key}/floor"} <= set(metrics), key
    assert all(key.startswith("test/") and math.isfinite(value) for key, value in metrics.items())
    assert sum(key.startswith("test/response/") and key.count("/") == 2 for key in metrics) == 6
    assert {
        key.replace("response", "resolution") for key in metrics if key.startswith("test/response/")
    } <= set(metrics)
    assert "independent truth of the generated sample's size" in result.notes["test/floor"]
    assert result.events == (800, 700)
    rows = {key: (value, error, floor) for key, value, error, floor in result.rows()}
    assert rows["w1_mean"][0] == metrics["test/w1_mean"]
    assert not any(key.endswith(("/floor", "/error")) for key in rows)


def test_truth_scores_near_its_floor_and_a_wrong_sample_far_above() -> None:
    judge = Evaluator(events(1500, 0), Toy(TABLE), truth=events(4500, 2))
    good, bad = judge(events(1500, 1)), judge(events(1500, 3, scale=1.3))
    assert good.metrics["test/w1_mean"] < 2 * good.metrics["test/w1_mean/floor"]
    assert bad.metrics["test/w1_mean"] > 3 * bad.metrics["test/w1_mean/floor"]
    assert bad.metrics["test/separation/first"] > 3 * bad.metrics["test/separation/first/floor"]
    assert bad.metrics["test/profile/columns"] == pytest.approx(0.3, abs=0.1)
    assert bad.metrics["test/classifier/boosted/auc"] > 0.6
    widths = [
        value
        for key, value in bad.metrics.items()
        if key.startswith("test/resolution/") and key.count("/") == 2
    ]
    assert np.mean(widths) == pytest.approx(0.3, abs=0.1)


def test_the_same_call_gives_the_same_figures_under_any_prefix() -> None:
    judge = Evaluator(events(400, 0), Toy(TABLE), seed=3)
    first, again = judge(events(300, 1)), judge(events(300, 1), "val/")
    assert {key.removeprefix("test/"): v for key, v in first.metrics.items()} == {
        key.removeprefix("val/"): v for key, v in again.metrics.items()
    }


def test_undefined_values_are_counted_not_hidden() -> None:
    generated = events(400, 1)
    generated.x[:, 3] = -1.0
    result = evaluate(events(400, 0), generated, Toy(TABLE))
    assert result.metrics["test/undefined/last"] == 1.0
    assert result.metrics["test/undefined/last/floor"] == pytest.approx(0.5, abs=0.1)
    assert result.metrics["test/separation/last"] == 1.0
    assert "test/w1/last" not in result.metrics
    assert result.histograms["last"].undefined[1] == 400


def test_values_outside_the_range_are_reported() -> None:
    result = evaluate(events(600, 0), events(600, 1, scale=5.0), Toy(TABLE))
    inside, outside = result.histograms["first"].outside
    assert result.metrics["test/outside/first"] == pytest.approx(sum(outside))
    assert sum(outside) > 0.3 > 0.01 > sum(inside)


def test_floors_without_enough_truth_are_scaled_to_the_same_size() -> None:
    """The floor of 1000 against 1000 events from enough truth, from less, and from halves."""
    judged = Toy(TABLE)
    means: dict[str, list[tuple[float, float]]] = {"independent": [], "scaled": [], "halves": []}
    for seed in range(8):
        sample = reduce(events(1000, 10 * seed), judged)
        binning = Binning.of(sample, judged)
        for n, kind in ((3000, "independent"), (500, "scaled"), (0, "halves")):
            truth = reduce(events(n, 10 * seed + 1), judged) if n else None
            found = floors(sample, truth, 1000, binning)
            assert found.kind == kind
            means[kind].append(
                (found.values["separation/second"].value, found.values["w1_mean"].value)
            )
            assert all((floor.error or 0) > 0 for floor in found.values.values())
    separations, distances = (
        {kind: np.mean([v[i] for v in values]) for kind, values in means.items()} for i in (0, 1)
    )
    counting = 19 / 4 * (1 / 1000 + 1 / 1000)
    for kind in ("independent", "scaled", "halves"):
        assert separations[kind] == pytest.approx(counting, rel=0.25), kind
        assert distances[kind] == pytest.approx(distances["independent"], rel=0.2), kind


def test_errors_are_the_spread_over_independent_samples() -> None:
    judged = Toy(TABLE)
    reference = reduce(events(1000, 0), judged)
    binning = Binning.of(reference, judged)
    runs = []
    for seed in range(25):
        pair = [
            reduce(events(1000, 100 + 2 * seed + i, scale=1 + 0.2 * i), judged) for i in range(2)
        ]
        binned = [Binned(sample, binning) for sample in pair]
        runs.append(compare(*binned, 30 if seed == 0 else 0, torch.Generator().manual_seed(0)))
    for key in ("w1/first", "w1_mean", "separation/second", "profile/columns", "correlation"):
        spread = np.std([run.values[key] for run in runs])
        assert 0.5 < runs[0].errors[key] / spread < 2, key
    key = next(key for key in runs[0].values if key.startswith("resolution/"))
    assert 0.6 < runs[0].errors[key] / np.std([run.values[key] for run in runs]) < 1.7


def test_event_weights_enter_every_figure() -> None:
    judged, weight = (
        Toy(TABLE),
        torch.rand(800, generator=torch.Generator().manual_seed(5)).round() + 1,
    )
    batch = events(800, 1)
    weighted = Batch(batch.x, batch.cond, weight=weight)
    repeated = batch[torch.arange(800).repeat_interleave(weight.long())]
    reference = reduce(events(500, 0), judged)
    binning = Binning.of(reference, judged)
    found, expected, plain = (
        compare(Binned(reference, binning), Binned(reduce(b, judged), binning)).values
        for b in (weighted, repeated, batch)
    )
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value == pytest.approx(expected[key], rel=1e-9), key
        assert value != plain[key], key


def test_chunks_do_not_change_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, judged = events(103, 0), Toy(TABLE)
    whole = reduce(batch, judged)
    monkeypatch.setattr("simulacra.metrics.engine.sample.CHUNK_VALUES", 40)
    parts = reduce(batch, judged)
    for name, column in whole.columns.items():
        assert torch.equal(column.values, parts.columns[name].values)
        assert torch.equal(column.event, parts.columns[name].event)
        assert column.undefined == parts.columns[name].undefined
    torch.testing.assert_close(whole.images["square"].values, parts.images["square"].values)
    assert torch.equal(whole.profiles["columns"].values, parts.profiles["columns"].values)


def test_no_events_are_refused() -> None:
    with pytest.raises(UserError, match="no events"):
        evaluate(events(100, 0), events(100, 1)[:0], Toy(TABLE))


@pytest.mark.parametrize(
    "name", ["ds1_photons", "calogan", "ild_10x10", "ild_cloud", "jetnet30", "pxd_small"]
)
def test_every_kind_of_data_is_evaluated(name: str, toy) -> None:  # type: ignore[no-untyped-def]
    module = toy(name)
    batch = Batch.cat([module.batch(100, part) for part in ("train", "test")])
    half = len(batch) // 2
    result = Evaluator(batch[:half], module.observables, scores={})(batch[half:])
    assert result.metrics["test/w1_mean"] > 0
    assert len([key for key in result.metrics if key.startswith("test/separation/")]) >= 5
    assert all(math.isfinite(value) for value in result.metrics.values())
    for p, q in result.images.values():
        assert p.values.shape == q.values.shape
