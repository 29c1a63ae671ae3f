from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from simulacra.cli import sweep as module
from simulacra.cli.main import main
from simulacra.cli.sweep import write_table
from simulacra.core import UserError

PROJECT = Path(__file__).parents[1] / "integration" / "toy_project"


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
    assert "| model=a | 3 | 0.30 ± 0.26 | 2 ± 0 |" in text
    assert json.loads((tmp_path / "table.json").read_text()) == rows


def test_a_sweep_adds_columns_of_its_own(tmp_path: Path) -> None:
    for number, model in enumerate(("a", "b")):
        job(tmp_path, number, [f"model={model}"], w1_mean=0.5, fpd=0.25 + number)
    write_table(tmp_path, ["test/fpd", "test/w1_mean", "test/none"])
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("| setting | jobs | test/w1_mean | test/fpd |\n")
    assert "| model=b | 1 | 0.5 | 1.25 |" in text


def test_one_job_has_no_deviation_and_digits_are_even(tmp_path: Path) -> None:
    for number, value in enumerate((0.9901, 0.9946, 0.99235)):
        job(
            tmp_path,
            number,
            ["model=a", f"seed={number}"],
            w1_mean=value,
            time_per_event_ms=1000 + 70 * number,
        )
    for number, value in enumerate((0.98, 0.986), start=3):
        job(
            tmp_path,
            number,
            ["model=b", f"seed={number}"],
            w1_mean=value,
            time_per_event_ms=1e-12 * number,
        )
    job(tmp_path, 10, ["model=c", "seed=0"], w1_mean=1.0, time_per_event_ms=2.0)
    rows = write_table(tmp_path)
    assert rows[-1]["figures"]["test/w1_mean"] == {"mean": 1.0, "std": None}
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2:] == [
        "| model=a | 3 | 0.9924 ± 0.0023 | 1070 ± 70 |",
        "| model=b | 2 | 0.9830 ± 0.0042 | 3.5e-12 ± 7.1e-13 |",
        "| model=c | 1 | 1 | 2 |",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.json", ""),
        ("metrics.json", "{"),
        ("metrics.json", "[1]"),
        ("metrics.json", '"' + "[" * 10**6),
        ("overrides.yaml", "{a: 1}"),
        ("overrides.yaml", "[a: b: c]"),
        ("overrides.yaml", "\x00"),
        ("overrides.yaml", ""),
    ],
)
def test_a_damaged_job_is_left_out_and_named(
    name: str, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2):
        job(tmp_path, number, [f"seed={number}"], w1_mean=1.0)
    place = tmp_path / "1" if name == "metrics.json" else tmp_path / "1" / ".hydra"
    (place / name).write_text(text)
    assert [row["jobs"] for row in write_table(tmp_path)] == [1]
    assert f"{tmp_path / '1'} has" in caplog.text


def test_what_is_no_number_is_no_figure(tmp_path: Path) -> None:
    job(tmp_path, 0, ["seed=0"], w1_mean=1.0)
    figures = {"test/w1_mean": 1.0, "a": None, "b": "x", "c": True, "d": float("nan")}
    (tmp_path / "0" / "metrics.json").write_text(json.dumps(figures))
    assert set(write_table(tmp_path)[0]["figures"]) == {"test/w1_mean"}


def outcome(cfg: DictConfig) -> dict[str, float]:
    """A job that fails with the number of events."""
    if cfg.n == 0:
        raise UserError("a sample needs\nat least one event")
    if cfg.n == 1:
        raise KeyError("bug")
    return {"quality": 1 / cfg.n}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a multirun of jobs that do nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("simulacra.cli.sample.sample", outcome)
    return tmp_path / "sweep"


def start(folder: Path, *arguments: str) -> None:
    main(["sample", "-m", f"hydra.sweep.dir={folder}", *arguments])


def test_a_job_that_fails_does_not_end_the_others(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        start(sweep, "n=0,16,0")
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert "simulacra: job 0 failed: a sample needs at least one event\n" in error
    assert error.endswith(f"simulacra: 2 jobs failed (0, 2): see failed.txt in {sweep}\n")
    assert sorted(path.parent.name for path in sweep.glob("*/failed.txt")) == ["0", "2"]
    start(sweep, "n=8,16,4")
    assert not list(sweep.glob("*/failed.txt"))
    assert "failed" not in capsys.readouterr().err


def test_a_bug_in_one_job_keeps_its_traceback(sweep: Path) -> None:
    with pytest.raises(KeyError, match="bug"):
        start(sweep, "n=1,16")
    assert "KeyError: 'bug'" in (sweep / "0" / "failed.txt").read_text()


SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "+objective=quality")
STORED = (*SEARCH, "hydra.sweeper.study_name=s", "hydra.sweeper.storage=sqlite:///search.db")


def test_a_search_goes_on_after_trials_that_fail_and_in_its_storage(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna = pytest.importorskip("optuna")
    grid = "hydra/sweeper/sampler=grid"
    with pytest.raises(SystemExit) as stopped:
        start(sweep, *STORED, grid, "n=choice(0,16)", "hydra.sweeper.n_trials=2")
    assert stopped.value.code == 1
    assert "1 job failed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        start(sweep, *STORED, "n=choice(0,32)", "hydra.sweeper.n_trials=1")
    assert "simulacra: Optuna: CategoricalDistribution does not support" in capsys.readouterr().err
    study = optuna.load_study(study_name="s", storage="sqlite:///search.db")
    values = {trial.params["n"]: trial.value for trial in study.trials if trial.params}
    assert values == {0: None, 16: 1 / 16}
    assert {trial.state.name for trial in study.trials[:2]} == {"COMPLETE", "FAIL"}


def test_a_grid_may_end_with_a_failure(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(SystemExit) as stopped:
        start(sweep, *SEARCH, "hydra/sweeper/sampler=grid", "n=choice(0)")
    assert stopped.value.code == 1
    assert "simulacra: 1 job failed (0)" in capsys.readouterr().err


def test_a_search_of_failures_alone_and_one_for_nothing_say_so(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(SystemExit) as stopped:
        start(sweep, *SEARCH, "n=choice(0)", "hydra.sweeper.n_trials=2")
    assert stopped.value.code == 1
    assert "2 jobs failed (0, 1)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        start(sweep, *SEARCH[:2], "+objective=qualify", "n=choice(16)", "hydra.sweeper.n_trials=1")
    assert "no figure objective=qualify to optimise: quality come" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("versions", "storage", "said"),
    [
        (
            ("2.10.1", "2.0.1"),
            "sqlite:///search.db",
            "2.10.1 cannot use a storage with SQLAlchemy 2.0.1",
        ),
        (
            ("2.10.1", "1.4.54"),
            "sqlite:////no/such/folder/search.db",
            "cannot be opened: .*unable to open",
        ),
        (("2.10.1", "1.4.54"), "search.db", "the storage search.db cannot be opened"),
    ],
)
def test_a_storage_that_cannot_work_is_one_sentence(
    versions: tuple[str, str],
    storage: str,
    said: str,
    sweep: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("optuna")
    known = dict(zip(("optuna", "SQLAlchemy"), versions, strict=True))
    monkeypatch.setattr("simulacra.cli.sweep.version", known.get)
    with pytest.raises(SystemExit) as stopped:
        start(sweep, *SEARCH, f"hydra.sweeper.storage={storage}", "n=choice(2,3)")
    assert stopped.value.code == 1
    assert re.search(said, capsys.readouterr().err)


def test_a_storage_that_another_process_is_making_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    from sqlalchemy.exc import OperationalError

    from simulacra.cli.sweep import check_storage

    opened = []

    def get_storage(storage: str) -> None:
        opened.append(storage)
        if len(opened) == 1:
            raise OperationalError("CREATE TABLE", {}, Exception("table already exists"))

    monkeypatch.setattr(optuna.storages, "get_storage", get_storage)
    check_storage(OmegaConf.create({"hydra": {"sweeper": {"storage": "sqlite:///search.db"}}}))
    assert len(opened) == 2


@pytest.mark.faults
def test_jobs_in_other_processes_fail_alone(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    command = [
        sys.executable,
        "-m",
        "simulacra",
        "train",
        "-m",
        "experiment=toy",
        "callbacks=minimal",
    ]
    command += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "hydra.sweep.dir=sweep"]
    command += ["trainer.max_epochs=1", "logger=csv", "data.batch_size=0,16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=project)
    assert done.returncode == 1
    assert done.stderr.endswith("simulacra: 1 job failed (0): see failed.txt in sweep\n")
    assert (project / "sweep" / "1" / "metrics.json").is_file()


def test_unfinished_jobs_are_left_out(tmp_path: Path) -> None:
    job(tmp_path, 0, ["seed=0"], w1_mean=1.0)
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    assert write_table(tmp_path)[0]["jobs"] == 1
    assert write_table(tmp_path / "none") == []


def test_figures_are_drawn_over_the_number_that_a_sweep_varies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict = {}
    monkeypatch.setattr(
        "simulacra.plotting.curves.curves", lambda *given: seen.update(given=given) or Figure()
    )
    for i, (arm, n, seed) in enumerate(product(("scratch", "tuned"), (100, 1000), (0, 1))):
        values = {"w1_mean": n / 1000 + seed, "w1_mean/floor": 0.02}
        overrides = [f"showers={n}", f"arm={arm}", f"seed={seed}", "sweeps=data_efficiency"]
        job(tmp_path, i, overrides, **values)
        module.draw(tmp_path, write_table(tmp_path), "showers")
        assert (tmp_path / "curve.png").is_file() == (i > 1)  # a single number has no curve
    lines, labels, floors, over = seen["given"]
    assert (labels, floors, over) == (["mean W1"], [0.02], "showers")
    assert {name: sorted(points) for name, points in lines.items()} == {
        name: [100.0, 1000.0] for name in ("scratch", "tuned")
    }
    level = lines["tuned"][100.0][0]
    assert (level.mean, level.spread) == pytest.approx((0.6, statistics.stdev((0.1, 1.1))))
