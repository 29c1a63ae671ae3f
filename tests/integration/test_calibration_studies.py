"""Studies of calibration and of background, at small settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.studies.background.prediction import Prediction
from simulacra.studies.response.calibration import Calibration, Spectra

SHORT = ("logger=csv", "trainer.threads=1")


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return study(compose("study", [*overrides, *SHORT, f"paths.run={folder}"]))


@pytest.mark.smoke
def test_a_calibration_study_measures_closure_spectra_and_features(tmp_path: Path) -> None:
    """Of 6,000 events; the mean of measured over true momenta is 1.06 to 0.88."""
    off = [
        f"study.calibrators.{name}=null"
        for name in ("sequential", "core", "regression", "inversion")
    ]
    asked = (
        "study=calibration", "data=toy_response", "data.events.train=6000", "data.events.test=4000",
        *off, "study.bins.number=3", "study.bins.between=[27,73]", "study.bins.tolerance=0.05",
        "study.calibrators.generalized.steps=150", "study.spectra.learnt=[flat,own]",
    )  # fmt: skip
    found = run(tmp_path / "run", *asked)
    assert found["study/none/flat/flat/closure"] > 0.05
    assert found["study/none/flat/flat/excess"] > 1 > found["study/generalized/flat/flat/excess"]
    assert found["study/none/apart/flat/own"] == 0
    assert found["study/generalized/apart/flat/own"] < 0.08
    assert found["study/generalized/dependence/pileup"] < 0.05
    assert found["study/none/flat/flat/resolution"] == pytest.approx(0.15, rel=0.15)
    assert found["study/null/none/closure"] < 1e-6
    assert found["study/null/generalized/closure"] < 0.02
    assert (tmp_path / "run" / "report.html").is_file()
    assert run(tmp_path / "run", *asked) == found


@pytest.mark.smoke
def test_a_prediction_is_covered_where_the_validation_region_sees_what_is_wrong(
    tmp_path: Path,
) -> None:
    """Additive moments, which need no training; the interaction is half a standard deviation."""
    found = run(
        tmp_path / "run", "study=abcd", "data=toy_regions", "study.templates.abcdnn=null",
        "study.replicas=2",
    )  # fmt: skip
    good, bad = (f"study/{name}/moments" for name in ("factorising", "interacting"))
    assert found[f"{good}/signal/w1/x"] < 2 * found[f"{good}/signal/w1/x/floor"]
    assert found[f"{bad}/signal/w1/x"] > 5 * found[f"{bad}/signal/w1/x/floor"]
    assert found["study/apart/interacting/moments/z"] > 5
    assert abs(found["study/apart/like_source/moments/z"]) < 3
    for name in (good, bad):
        assert found[f"{name}/used/x"] <= 1
    assert found["study/factorising/unchanged/signal/w1/x"] > 0.3


def test_studies_of_nothing_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"study\.spectra\.learnt names some of flat, got \['steep'\]"
    ):
        Spectra({"flat": 0.0}, ["steep"])
    with pytest.raises(UserError, match="at least one calibrator"):
        Calibration({"none": None}, None, None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a case, a template"):
        Prediction({}, {}, None, None, ["x"], 2)  # type: ignore[arg-type]
