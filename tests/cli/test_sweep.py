from __future__ import annotations

import json
import statistics
from pathlib import Path

from simulacra.cli.sweep import write_table


def job(folder: Path, number: int, overrides: list[str], **figures: float) -> None:
    (folder / str(number) / ".hydra").mkdir(parents=True)
    (folder / str(number) / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    named = {f"test/{key}": value for key, value in figures.items()}
    (folder / str(number) / "metrics.json").write_text(json.dumps(named))


def test_figures_are_averaged_over_seeds(tmp_path: Path) -> None:
    values = {"a": (0.1, 0.2, 0.6), "b": (1.0, 1.0, 1.0)}
    for i, (model, scores) in enumerate(values.items()):
        for seed, score in enumerate(scores):
            overrides = ["data=ild", "a=${b.c}", f"model={model}", f"seed={seed}"]
            job(tmp_path, 3 * i + seed, overrides, w1_mean=score, time_per_event_ms=2.0)
    rows = write_table(tmp_path)
    assert [(row["setting"], row["jobs"]) for row in rows] == [(["model=a"], 3), (["model=b"], 3)]
    found = rows[0]["figures"]["test/w1_mean"]
    assert found["mean"] == statistics.fmean(values["a"])
    assert found["std"] == statistics.stdev(values["a"])
    text = (tmp_path / "table.md").read_text()
    assert "| model=a | 3 | 0.3 ± 0.26 | 2 ± 0 |" in text
    assert json.loads((tmp_path / "table.json").read_text()) == rows


def test_unfinished_jobs_are_left_out(tmp_path: Path) -> None:
    job(tmp_path, 0, ["seed=0"], w1_mean=1.0)
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    assert write_table(tmp_path)[0]["jobs"] == 1
    assert write_table(tmp_path / "none") == []
