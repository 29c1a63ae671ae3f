"""The learned likelihood ratio: right where known, p uniform for truth, z large for what is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from simulacra.core import Batch, Field, Prior, Spec
from simulacra.metrics import Evaluator
from simulacra.metrics.distances.nplm import NplmScore, nplm, width_of
from simulacra.metrics.engine.null import against
from simulacra.metrics.engine.score import NotRun, judged
from simulacra.physics.base import Axis, ObservableSet
from simulacra.plotting import figures

TRUE, MADE, FEATURES = 500, 100, 3
WIDTH = width_of(torch.randn(1000, FEATURES, generator=torch.Generator().manual_seed(0)))
GENERATOR = torch.Generator().manual_seed(1)


def normal(n: int) -> Tensor:
    return torch.randn(n, FEATURES, generator=GENERATOR, dtype=torch.float64)


def statistic(made: Tensor, weight: Tensor | None = None) -> float:
    return nplm(normal(TRUE), made, WIDTH, weights=(None, weight), generator=GENERATOR)[0]


@pytest.fixture(scope="module")
def null() -> Tensor:
    return torch.tensor([statistic(normal(MADE)) for _ in range(100)])


def test_p_values_of_truth_are_uniform(null: Tensor) -> None:
    found = [against(null, statistic(normal(MADE))) for _ in range(80)]
    assert kstest([p for _, p in found], "uniform").pvalue > 0.01
    assert np.std([z for z, _ in found]) == pytest.approx(1, abs=0.4)
    assert abs(np.mean([z for z, _ in found])) < 0.5


def test_a_wrong_correlation_is_found_and_weights_undo_a_shift(null: Tensor) -> None:
    made = normal(MADE)
    made[:, 1] = 0.8 * made[:, 0] + 0.6 * made[:, 1]
    z, p = against(null, statistic(made))
    assert z > 5
    assert p == 1 / 101
    moved = normal(4 * MADE) + torch.tensor([0.5, 0, 0])
    weight = torch.exp(-0.5 * moved[:, 0] + 0.125)
    assert against(null, statistic(moved[:MADE]))[0] > 3
    assert against(null, statistic(moved, weight))[0] < 3


def test_the_ratio_is_that_of_the_densities() -> None:
    true, made = normal(20_000), normal(4000) + torch.tensor([0.5, 0, 0])
    found = nplm(true, made, WIDTH, generator=GENERATOR)[1]
    at = normal(500) * 0.7
    expected = 0.5 * at[:, 0] - 0.125
    assert float((found.log(at) - expected).abs().mean()) < 0.1
    torch.testing.assert_close(found(at), found.log(at).exp())


def test_samples_that_do_not_overlap_have_a_finite_statistic(null: Tensor) -> None:
    found = statistic(normal(MADE) + 8)
    assert math.isfinite(found)
    assert against(null, found)[0] > 50


SPEC = Spec(
    "toy", "table", (FEATURES,), "GeV", tuple(Field(f"f{i}") for i in range(FEATURES)),
    (Field("incident_energy", "GeV", low=1.0, high=100.0, role="energy"),),
    prior=(Prior("incident_energy", "uniform", (1.0, 100.0)),),
)  # fmt: skip


class Columns(ObservableSet):
    """The features."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return {f"f{i}": batch.x[:, i] for i in range(FEATURES)}

    def axes(self) -> dict[str, Axis]:
        return {f"f{i}": Axis(f"f{i}", low=-4.0, high=4.0) for i in range(FEATURES)}

    def features(self, batch: Batch) -> Tensor:
        return batch.x


def batch(n: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=generator)
    return Batch(x, {"incident_energy": torch.rand(n, 1, generator=generator) * 99 + 1})


def test_an_evaluation_has_z_and_p_from_toys_and_a_figure_of_the_misfit() -> None:
    judge = Evaluator(
        batch(600, 0), Columns(SPEC), truth=batch(600, 1), scores={"nplm": NplmScore(toys=20)}
    )
    good, made = judge(batch(100, 2), ""), batch(100, 3)
    made.x[:, 1] += 1
    bad = judge(made, "")
    assert abs(good.metrics["nplm/z"]) < 4
    assert bad.metrics["nplm/z"] > 6
    assert bad.metrics["nplm/p"] == 1 / 21
    assert bad.metrics["nplm/floor"] == good.metrics["nplm/floor"], "toys are played once"
    assert "100 generated events" in bad.notes["nplm"]
    assert set(bad.misfits) == {"f0", "f1", "f2"}
    moved = bad.misfits["f1"]
    middle = (moved.edges[1:] + moved.edges[:-1]) / 2
    means = [float((h * middle).sum() / h.sum()) for h in (moved.reference, moved.generated)]
    assert means[1] - means[0] > 0.4
    assert "misfit" in figures(bad, "wrong")


def test_what_cannot_be_tested_is_said() -> None:
    few, many = (judged(batch(n, n), Columns(SPEC)) for n in (60, 600))
    with pytest.raises(NotRun, match="needs 50 of these, got 60 true and 600 generated"):
        NplmScore(toys=2)(few, many, 0)
    broken = batch(600, 5)
    broken.x[3] = torch.nan
    with pytest.raises(NotRun, match="1 events have features that are not finite"):
        NplmScore(toys=2)(many, judged(broken, Columns(SPEC)), 0)
