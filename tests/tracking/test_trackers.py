from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from simulacra.core import UserError
from simulacra.tracking.csv import CSVTracker
from simulacra.tracking.identity import git_commit, identity
from simulacra.tracking.wandb import WandbTracker, earlier, reachable


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_one_row_per_step_and_all_columns(tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    tracker.log_metrics({"train/loss": 1.5}, step=0)
    tracker.log_metrics({"val/w1_mean": 0.25}, step=0)
    tracker.log_metrics({"train/loss": 0.5}, step=10)
    tracker.finalize("success")
    assert rows(tmp_path) == [
        {"step": "0", "train/loss": "1.5", "val/w1_mean": "0.25"},
        {"step": "10", "train/loss": "0.5", "val/w1_mean": ""},
    ]


def test_a_resumed_table_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    first = CSVTracker(str(tmp_path))
    for step in (0, 10, 20):
        first.log_metrics({"train/loss": float(step)}, step=step)
    first.save()
    second = CSVTracker(str(tmp_path))
    second.begin(tmp_path, 10)
    second.log_metrics({"train/loss": -1.0}, step=11)
    second.save()
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path)] == [
        ("0", "0.0"),
        ("10", "10.0"),
        ("11", "-1.0"),
    ]


def test_a_table_is_a_file_of_its_own(tmp_path: Path) -> None:
    CSVTracker(str(tmp_path)).table("test/observables", ["observable", "w1"], [["e_tot", 0.5]])
    with (tmp_path / "tables" / "test_observables.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"observable": "e_tot", "w1": "0.5"}]


def test_without_a_key_the_run_is_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not reachable()


def test_a_key_without_a_network_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert not reachable()


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="online, offline or auto"):
        tracker(tmp_path, mode="on")


def tracker(folder: Path, mode: str = "auto") -> WandbTracker:
    return WandbTracker(
        folder=str(folder),
        project="test",
        entity=None,
        group="sweep",
        job_type="train",
        name="run",
        tags=["a"],
        mode=mode,
        artifacts=True,
    )


@pytest.mark.slow
def test_an_offline_run_shows_images_table_and_auc(tmp_path: Path) -> None:
    image = Path(__file__).parent / "pixel.png"
    first = tracker(tmp_path)
    first.log_hyperparams({"model": {"width": 3}})
    first.log_metrics({"val/boosted_auc": 0.7}, step=4)
    first.image("val/observables", image, 4)
    first.table("test/observables", ["observable", "w1"], [["e_tot", 0.5]])
    first.log_metrics({"test/classifier/boosted/auc": 0.6}, step=5)
    first.attach(image, "model")
    (tmp_path / "run").mkdir()
    first.begin(tmp_path / "run", None)
    name = first.version
    first.finish(failed=False)
    assert wandb.run is None
    assert earlier(tmp_path / "run") == name
    assert earlier(tmp_path) is None
    command = shutil.which("wandb", path=str(Path(sys.executable).parent))
    assert command is not None
    done = subprocess.run(
        [command, "leet", "inspect", "--summary", "--json", str(tmp_path / "wandb")],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["test/classifier/boosted/auc"] == 0.6
    assert found["summary"]["val/observables"]["_type"].startswith("image")
    assert found["summary"]["test/observables"]["_type"].startswith("table")
    assert found["config"]["model"] == {"width": 3}
    assert found["exit_code"] == 0


def test_the_identity_names_versions_and_the_commit(tmp_path: Path) -> None:
    assert identity()["python"] == ".".join(map(str, sys.version_info[:3]))
    assert git_commit(tmp_path) is None
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=b@c", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
