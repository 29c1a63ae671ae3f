"""Trackers whose other side fails: before a run one sentence, later on a warning, and training goes on."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from mlflow_server import Server, server
from simulacra.core import UserError
from simulacra.tracking import contact
from simulacra.tracking.base import Tracker
from simulacra.tracking.mlflow import WAIT, MlflowTracker
from simulacra.tracking.wandb import WandbTracker

IMAGE = Path(__file__).parent / "pixel.png"


def mlflow(folder: Path) -> MlflowTracker:
    pytest.importorskip("mlflow.tracking")
    return MlflowTracker(
        folder=str(folder), experiment="toy", group=None, name="r", tags=[], artifacts=True
    )


def tell_all(tracker: Tracker, step: int) -> None:
    tracker.log_hyperparams({"a": 1})
    tracker.log_metrics({"train/loss": 0.5}, step)
    tracker.image("val/observables", IMAGE)
    tracker.table("test/observables", ["a"], [[1]])
    tracker.attach(IMAGE, "model")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAIT:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> Iterator[tuple[Server, MlflowTracker]]:
    """A tracker whose run has begun on a server, which does not answer any more."""
    with server(tmp_path / "files") as found:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", found.address)
        tracker = mlflow(tmp_path)
        tracker.log_hyperparams({"a": 1})
        tracker.begin(tmp_path, None)
        tracker.log_metrics({"train/loss": 0.5}, 1)
        assert found.asked.count("metrics") == 1
        found.silent_after = 0
        yield found, tracker


def test_an_mlflow_server_that_is_not_there_is_one_sentence_after_a_short_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in WAIT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with socket.socket() as held:  # nobody listens at its port
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{held.getsockname()[1]}")
        tracker, waits = mlflow(tmp_path), []
        monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
        with pytest.raises(
            UserError, match=r"^MLflow at http://127.* did not open a run: "
        ) as said:
            tracker.log_hyperparams({"a": 1})
    assert "\n" not in str(said.value)
    assert 0 < sum(waits) < 15


def test_a_server_that_falls_silent_is_one_warning_and_is_asked_once_in_a_while(
    silent: tuple[Server, MlflowTracker],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, tracker = silent
    before = len(found.asked)
    for step in range(2, 6):
        tell_all(tracker, step)
    assert len(found.asked) == before + 1
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"MLflow at {found.address} does not take what it is told")
    now = time.monotonic() + contact.PAUSE
    monkeypatch.setattr(contact, "time", SimpleNamespace(monotonic=lambda: now))
    tracker.log_metrics({"train/loss": 0.5}, 6)
    assert len(found.asked) == before + 2
    assert len(caplog.messages) == 1
    found.silent_after = 10**6
    tracker.log_metrics({"train/loss": 0.5}, 7)
    assert len(found.asked) == before + 2
    now += contact.PAUSE
    with caplog.at_level(logging.INFO):
        tracker.log_metrics({"train/loss": 0.5}, 8)
    assert len(found.asked) == before + 3
    assert caplog.messages[1:] == [f"MLflow at {found.address} answers again"]


def test_a_run_is_ended_also_within_the_pause(silent: tuple[Server, MlflowTracker]) -> None:
    found, tracker = silent
    tracker.log_metrics({"train/loss": 0.5}, 2)
    found.silent_after = 10**6
    tracker.finish(failed=False)
    assert found.asked[-1] == "runs/update"


def test_wandb_whose_process_has_ended_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told by the errors that W&B raised when its process was killed."""
    told: list[object] = []

    def lost(*found: object, **_: object) -> None:
        told.append(found)
        raise ConnectionResetError(104, "Connection reset by peer")

    run = SimpleNamespace(
        id="b" * 8,
        dir=str(tmp_path / "files"),
        log=lost,
        finish=lost,
        config=SimpleNamespace(update=lost),
    )
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    tracker = WandbTracker(
        folder=str(tmp_path),
        project="p",
        entity=None,
        group=None,
        job_type="train",
        name="r",
        tags=[],
        mode="offline",
        artifacts=True,
    )
    tracker.begin(tmp_path, None)
    tell_all(tracker, 1)
    assert len(told) == 1
    tracker.finish(failed=False)
    assert len(told) == 2
    assert caplog.messages == [
        "W&B does not take what it is told, training goes on without it: [Errno 104] Connection reset by peer"
    ]
