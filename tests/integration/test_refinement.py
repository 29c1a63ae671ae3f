"""Weights of a sample that is known to be shifted, and of one that is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulacra.cli.main import main

TOY = ("data=toy_pj", "data.events.train=8000", "data.events.test=4000", "logger=none")
TRAINING = "study.weigher.training=[model=dctrgan,data.batch_size=500,trainer.max_epochs=10]"


@pytest.mark.smoke
def test_weights_take_back_a_shift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = "data=toy_pj,data.toy.seed=1,data.toy.shift=0.3,data.events.train=8000,data.events.test=4000"
    asked = ["study=refinement", *TOY, TRAINING, f"study.other=[{other}]", "study.largest=4"]
    main(["study", *asked, "study.replicas=2", "hydra.run.dir=run"])
    found = {
        key.removeprefix("study/"): value
        for key, value in json.loads(Path("run/metrics.json").read_text()).items()
    }
    auc = "classifier/boosted/auc"
    assert found[f"before/{auc}"] > 0.58
    assert found[f"after/{auc}"] < 0.5 + 4 * found[f"after/{auc}/error"]
    assert found["after/w1_mean"] < found["before/w1_mean"] / 3
    assert found["separation/before"] >= 2
    assert found["separation/halved"] == 1
    assert abs(found["weight/mean"] - 1) < 0.1
    assert found["weight/effective"] > 0.5
    assert 0 < found["weight/clipped"] < 0.05
    assert found["weight/largest"] == pytest.approx(4)
    assert found["null/weight/spread"] < 0.1
    assert abs(found[f"null/{auc}"] - 0.5) < 4 * found[f"null/{auc}/error"]
    page = Path("run/report.html").read_text()
    assert all(f"<h2>{head}</h2>" in page for head in ("Before and after", "Weights", "Null test"))
    assert page.count("data:image/png") == 1


@pytest.mark.smoke
def test_cross_fitted_classifiers_weigh_what_they_learn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = "data=toy_pj,data.toy.seed=1,data.toy.shift=0.3,data.events.train=4000,data.events.test=4000"
    folds = ["weigher@study.weigher=folds", "study.weigher.ratio.folds=2"]
    asked = ["study=refinement", *TOY, *folds, f"study.other=[{other}]", "study.replicas=1"]
    main(["study", *asked, "study.null_test=false", "hydra.run.dir=run"])
    found = json.loads(Path("run/metrics.json").read_text())
    auc = "study/after/classifier/boosted/auc"
    assert found["study/before/classifier/boosted/auc"] > 0.58
    assert found[auc] < 0.5 + 4 * found[f"{auc}/error"]
    assert len(list(Path("run/weigher").glob("fold_*"))) == 2
