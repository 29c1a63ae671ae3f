"""What an evaluation found, in the hands of others: histograms of hist, layers by their numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from simulacra.core import Batch, UserError
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.metrics.engine.result import Histogram, is_twin
from simulacra.physics.base import Axis

PAIR = Histogram(
    Axis("energy", "MeV"),
    np.array([0.0, 1.0, 3.0]),
    np.array([5.0, 7.0]),
    np.array([4.0, 9.0]),
    ((0.0, 0.1), (0.2, 0.0)),
    (0.0, 0.0),
    (np.array([5.5, 7.5]), np.array([4.5, 9.5])),
)


def test_a_figure_whose_name_ends_like_a_twin_is_one() -> None:
    figures = {
        "w1/z": 1.0,
        "w1/z/error": 0.1,
        "fpd": 2.0,
        "fpd/z": 3.0,
        "fpd/floor/error": 0.1,
        "fpd/floor": 1.0,
    }
    own = [key for key in figures if not is_twin(key, figures)]
    assert own == ["w1/z", "fpd"]


@pytest.fixture
def result(toy) -> EvaluationResult:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    batch = Batch.cat([module.batch(100, part) for part in ("train", "test")])
    half = len(batch) // 2
    return Evaluator(batch[:half], module.observables, scores={})(batch[half:])


def test_a_histogram_becomes_one_of_hist_with_its_errors() -> None:
    hist = pytest.importorskip("hist", reason="the extra [hep] is not installed")
    made = PAIR.to_hist()
    assert isinstance(made, hist.Hist)
    assert made.axes.name == ("events", "value")
    assert made.axes["value"].label == "energy [MeV]"
    assert made.axes["value"].edges.tolist() == [0.0, 1.0, 3.0]
    truth, generated = made["reference", :], made["generated", :]
    assert truth.values(flow=True).tolist() == [5.0, 7.0]
    assert truth.variances().tolist() == [5.5, 7.5]
    assert generated.values().tolist() == [4.0, 9.0]
    assert generated.variances().tolist() == [4.5, 9.5]


def test_without_hist_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hist", None)
    with pytest.raises(UserError, match=r"need the extra \[hep\]"):
        PAIR.to_hist()


def test_a_result_says_what_made_the_truth(result: EvaluationResult) -> None:
    assert result.truth == "Geant4, ds1_photons"
    assert result.asked == r"$E_\mathrm{inc}$"
    assert result.ratio == r"$E_\mathrm{tot} / E_\mathrm{inc}$"


def test_layers_have_one_numbering(result: EvaluationResult) -> None:
    layers = ("0", "1", "2", "3", "12")
    assert result.profiles["longitudinal"].names == layers
    assert result.correlation is not None
    assert result.correlation.names == layers
    assert list(result.images) == [f"layer_{number}" for number in layers]
    assert {f"energy_layer_{number}" for number in layers} <= set(result.histograms)
