"""Floors: which figures have one, from what, and with which error."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Field, Spec
from simulacra.metrics.classifiers.boosted import boosted_score
from simulacra.metrics.distances.frechet import feature_distances
from simulacra.metrics.distances.prdc import feature_prdc
from simulacra.metrics.engine.binning import Binning
from simulacra.metrics.engine.floors import floors
from simulacra.metrics.engine.sample import reduce
from simulacra.metrics.engine.score import Figure, Judged
from simulacra.metrics.engine.suite import Evaluator
from simulacra.physics.base import Axis, ObservableSet

WIDTH = 6
SPEC = Spec("toy", "table", (WIDTH,), "GeV", tuple(Field(f"f{i}") for i in range(WIDTH)))
SCORES = {
    "boosted": boosted_score,
    "features": partial(feature_distances, min_samples=400, max_samples=800, batch_size=400),
    "prdc": feature_prdc,
}


class Columns(ObservableSet):
    """Normal numbers, in many bins."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return {f"f{i}": batch.x[:, i] for i in range(WIDTH)}

    def axes(self) -> dict[str, Axis]:
        return {f"f{i}": Axis(f"f{i}", bins=200, low=-4.0, high=4.0) for i in range(WIDTH)}

    def features(self, batch: Batch) -> Tensor:
        return batch.x


def events(n: int, seed: int) -> Batch:
    return Batch(torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed)), {})


def test_a_judges_floor_is_known_and_needs_no_second_training() -> None:
    calls = []

    def counted(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        calls.append(len(reference))
        return boosted_score(reference, generated, seed)

    found = Evaluator(events(300, 0), Columns(SPEC), scores={"boosted": counted})(events(300, 1))
    assert found.metrics["test/classifier/boosted/auc/floor"] == 0.5
    assert "test/classifier/boosted/auc/floor/error" not in found.metrics
    key = "test/classifier/boosted/auc"
    pull = (found.metrics[key] - 0.5) / found.metrics[f"{key}/error"]
    assert found.metrics[f"{key}/z"] == pytest.approx(pull, rel=0.1)
    assert calls == [300]


def test_halves_give_no_floor_to_what_depends_on_the_number_of_events() -> None:
    judge = Evaluator(events(400, 0), Columns(SPEC), scores=SCORES)
    found = judge(events(400, 1))
    for name in ("precision", "recall", "density", "coverage"):
        assert f"test/prdc/{name}/floor" not in found.metrics
        assert "half of the reference holds fewer" in found.notes[f"test/prdc/{name}/floor"]
    for name in ("fpd", "kpd"):
        assert found.metrics[f"test/{name}/floor/error"] > 0
        assert f"test/{name}/z" not in found.metrics, "a null of half the size is none"
    few = Evaluator(events(50, 0), Columns(SPEC), scores=SCORES)(events(50, 1))
    for name in ("fpd", "kpd"):
        assert f"test/{name}/floor" not in few.metrics
        assert "fewer than 30" in few.notes[f"test/{name}/floor"]
        assert f"test/{name}/error" in few.metrics


def test_truth_of_the_right_size_gives_every_figure_a_floor_with_an_error() -> None:
    judge = Evaluator(events(300, 0), Columns(SPEC), scores=SCORES, truth=events(900, 2))
    found = judge(events(300, 1)).metrics
    for key in ("prdc/recall", "fpd", "kpd", "w1_mean", "separation/f0"):
        assert found[f"test/{key}/floor/error"] > 0, key
        width = np.hypot(found[f"test/{key}/error"], found[f"test/{key}/floor/error"])
        assert abs(found[f"test/{key}"] - found[f"test/{key}/floor"]) < 4 * width, key
    for key in ("prdc/recall", "fpd", "kpd"):
        assert abs(found[f"test/{key}/z"]) < 5, key


@pytest.mark.parametrize("n", [100, 400])
def test_separation_of_few_events_per_bin_has_the_floor_of_its_size(n: int) -> None:
    """Halves fill fewer bins, so that a floor that is scaled by the number of events alone is too low."""
    judged, scaled, true = Columns(SPEC), [], []
    for seed in range(12):
        sample = reduce(events(n, 3 * seed), judged)
        binning = Binning.of(sample, judged)
        halves = floors(sample, None, n, binning).values
        exact = floors(sample, reduce(events(n, 3 * seed + 1), judged), n, binning).values
        scaled += [halves[f"separation/f{i}"].value for i in range(WIDTH)]
        true += [exact[f"separation/f{i}"].value for i in range(WIDTH)]
    assert np.mean(scaled) == pytest.approx(np.mean(true), rel=0.04)


def test_the_error_of_a_floor_from_halves_is_its_spread() -> None:
    judged, found = Columns(SPEC), []
    for seed in range(40):
        sample = reduce(events(200, seed), judged)
        found.append(floors(sample, None, 200, Binning.of(sample, judged)).values["w1/f0"])
    spread = np.std([floor.value for floor in found])
    error = np.sqrt(np.mean([(floor.error or 0) ** 2 for floor in found]))
    assert 0.6 < error / spread < 1.6
