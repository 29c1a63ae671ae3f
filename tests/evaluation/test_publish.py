"""The closing line."""

from __future__ import annotations

import pytest
import torch

from simulacra import data
from simulacra.core import Batch
from simulacra.evaluation.publish import headline, headlines
from simulacra.metrics import evaluate
from support import composed


def test_the_closing_line_names_figures_errors_and_floors() -> None:
    figures = {
        "test/classifier/boosted/auc": 0.64711,
        "test/classifier/boosted/auc/error": 0.0112,
        "test/classifier/boosted/auc/floor": 0.5,
        "test/w1_mean": 0.05713,
        "test/w1_mean/error": 0.0049,
        "test/w1_mean/floor": 0.02,
        "test/w1_mean/floor/error": 0.001,
    }
    assert headline(figures) == (
        "boosted AUC 0.647 ± 0.011 (floor 0.500), mean W1 0.0571 ± 0.0049 (floor 0.02)"
    )
    figures["test/classifier/boosted/auc/z"] = 9.4
    found = dict(headlines({**figures, "test/equivalent_n/at_least": 400.0}))
    assert found["AUC boosted"] == [0.64711, 0.0112, 0.5, 9.4]
    assert found["equivalent N, at least"] == [400.0, None, None, None]
    assert headline({"test/w1_mean": 1.6285739e22}) == "mean W1 1.63e+22"
    assert headline({}) == "no figures"


@pytest.mark.parametrize(("outlier", "named"), [(0.3, False), (1e15, True)])
def test_an_observable_that_decides_the_mean_alone_is_named(outlier: float, named: bool) -> None:
    module = data.build(composed("data", "data=ds1_photons"))
    truth, made = module.batch(200, "test"), module.batch(200)
    x = made.x.clone()
    x[0, 3] = outlier  # one cell of one shower [MeV]
    found = evaluate(truth, Batch(x, made.cond), module.observables, scores={}, replicas=5)
    without = [key for key in found.metrics if key.startswith("test/w1_mean/without/")]
    assert bool(without) is named
    if named:
        rest = found.metrics[without[0]]
        assert rest * 10 < found.metrics["test/w1_mean"]
        name = without[0].removeprefix("test/w1_mean/without/")
        assert f"worst: {name}, without it {rest:.3g}" in headline(found.metrics)
        assert torch.isfinite(torch.tensor(rest))
