"""A training outlives the server that tracks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_server import server
from simulacra.tracking.mlflow import WAIT


def test_training_goes_on_where_the_server_of_a_tracker_dies(
    run_toy: Callable[..., tuple[Path, dict[str, float]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("mlflow.tracking")
    for name in WAIT:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with server(tmp_path / "files") as found:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", found.address)
        found.silent_after = 3
        run, figures = run_toy(
            "lost", "logger=mlflow", "callbacks=minimal", "evaluation.replicas=2"
        )
        assert found.asked.count("metrics") == 4
    assert figures["test/events"] == 96
    assert (run / "metrics.json").is_file()
    assert len((run / "metrics.csv").read_text().splitlines()) > 4
    said = [text for text in caplog.messages if text.startswith("MLflow at ")]
    assert len(said) == 1
    assert "training goes on without it" in said[0]
