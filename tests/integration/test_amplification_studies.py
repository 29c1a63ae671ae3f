"""Studies of what generators are worth and of their error bands, at small settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.studies.band_calibration import BandCalibration, Bins
from simulacra.studies.ganplification import Ganplification

SHORT = ("logger=csv", "trainer.threads=1")
TINY = (
    "model=table_fm,model/size=tiny,model.transform.knots=2,data.batch_size=50,trainer.max_epochs=2"
)
LAST = "callbacks.best=null,callbacks.final=null,trainer.limit_val_batches=0"

WIDE = (
    "model=table_flow,model/size=tiny,posterior@model.density.bayesian=normal,"
    "model.density.bayesian.start=0.3,data.batch_size=250"
)


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return study(compose("study", [*overrides, *SHORT, f"paths.run={folder}"]))


def amplified(folder: Path, *overrides: str) -> dict[str, float]:
    """Two trainings on 50 events each."""
    return run(
        folder, "study=ganplification", "data=toy_peaks", "data.events.test=20000",
        f"study.training=[{TINY},{LAST}]", "study.trained=50", "study.trainings=2",
        "study.repeats=300", "study.cells=[5]", "study.generated=[10,1000]", *overrides,
    )  # fmt: skip


def test_samples_and_fits_are_worth_what_they_should_and_a_study_is_done_once(
    tmp_path: Path,
) -> None:
    found = amplified(tmp_path / "run")
    assert found["study/q5/theory"] == pytest.approx(1, abs=0.15)
    assert found["study/q5/sample/equivalent"] == pytest.approx(50, rel=0.15)
    assert found["study/q5/fit/equivalent"] > 60
    assert found["study/q5/generator/equivalent"] < found["study/q5/fit/equivalent"]
    assert found["study/q5/generator/over_fit"] < 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "further events help" in page
    stages = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("stage.json")}
    assert len(stages) == 9
    assert amplified(tmp_path / "run") == found
    assert stages == {path: path.stat().st_mtime_ns for path in stages}
    samples = json.loads((tmp_path / "run" / "samples" / "stage.json").read_text())["figures"]
    assert samples == {"events/0": 50.0, "events/1": 50.0, "events/rest": 298 * 50.0}


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    plain = {"training": [], "trained": 10, "cells": [5], "family": None}
    with pytest.raises(UserError, match=r"two trainings or more .* got 1 and 5"):
        Ganplification(**plain, trainings=1, repeats=5, generated=[10, 100])
    with pytest.raises(UserError, match=r"two rising numbers .* got \[100, 10\]"):
        Ganplification(**plain, trainings=2, repeats=5, generated=[100, 10])
    with pytest.raises(UserError, match="need 100,000 events, and the training part has 45,000"):
        run(
            tmp_path / "many", "study=ganplification", "data=toy_peaks", "study.repeats=1000",
            "data.events.test=2000",
        )  # fmt: skip
    with pytest.raises(UserError, match=r"falling numbers of training events .* \[10, 20\] and 5"):
        BandCalibration([], [10, 20], 5, 100, Bins("x", 5, 1))


@pytest.mark.smoke
def test_showers_are_counted_and_those_learned_from_are_worth_about_themselves(
    tmp_path: Path,
) -> None:
    found = run(
        tmp_path / "run", "study=calomplification", "data=ds1_photons", "study.generated=500",
        "study.training=[model=caloinn,model/size=tiny,trainer.max_epochs=1]",
    )  # fmt: skip
    for name in ("energy", "centre_eta", "centre_phi", "tree"):
        keys = {key for key in found if key.startswith(f"study/{name}/")}
        assert f"study/{name}/jensen_shannon" in keys
        assert any(key.startswith(f"study/{name}/amplification") for key in keys)
        own = f"study/{name}/learned/amplification"
        assert 0.15 < found.get(own, found.get(f"{own}/at_least", 0.0)) < 7
    # a flow of one epoch knows no energies
    poor = "study/energy/amplification"
    assert found.get(poor, found.get(f"{poor}/at_most", 9.0)) < 0.5


@pytest.mark.smoke
def test_each_band_is_made_of_networks_of_its_own_training(tmp_path: Path) -> None:
    """What bands of trainings that are long enough cover is in ``tests/models/test_wedge.py``."""
    found = run(
        tmp_path / "run", "study=band_calibration", "data=toy_wedge", "study.events=[2000,500]",
        "study.networks=3", "study.generated=5000", "data.events.test=20000",
        "trainer.max_steps=20", f"study.training=[{WIDE}]",
    )  # fmt: skip
    wide, narrow = (found[f"study/n{n}/band/width"] for n in (500, 2000))
    assert narrow > 0
    assert found["study/band/growth"] == pytest.approx(wide / narrow)
    assert found["study/band/growth/floor"] == 2.0
    shares = [found[f"study/n{n}/band/coverage"] for n in (500, 2000)]
    assert found["study/band/coverage"] == pytest.approx(sum(shares) / 2)
    for n in (500, 2000):
        files = sorted((tmp_path / "run" / "networks" / f"{n}").glob("generated_draw*"))
        assert len({file.read_bytes() for file in files}) == 3
