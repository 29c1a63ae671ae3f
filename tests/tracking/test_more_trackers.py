"""TensorBoard and MLflow: figures, images and tables, and a run that goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simulacra.core import UserError
from simulacra.core.instantiate import instantiate
from simulacra.tracking.base import Tracker
from simulacra.tracking.mlflow import MlflowTracker, key_of
from simulacra.tracking.runs import earlier
from simulacra.tracking.tensorboard import TensorboardTracker
from support import composed

IMAGE = Path(__file__).parent / "pixel.png"
COLUMNS, ROWS = ["observable", "w1", "w1 floor"], [["e|tot", 0.5, None]]


def use(tracker: Tracker, run: Path) -> None:
    """All that a training does with a tracker."""
    tracker.log_hyperparams({"model": {"width": 3}})
    tracker.begin(run, None)
    for step in (0, 10, 20):
        tracker.log_metrics({"train/loss": step / 8}, step)
    tracker.details({"test/fpd": 0.25, "test/fpd/error": 0.125}, 20)
    tracker.image("val/observables", IMAGE, 10)
    tracker.image("test/observables", IMAGE)
    tracker.table("test/observables", COLUMNS, ROWS)
    tracker.attach(IMAGE, "model")
    tracker.save()


def test_tensorboard_shows_figures_images_and_tables(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = TensorboardTracker(str(tmp_path))
    use(tracker, tmp_path)
    tracker.finish(failed=False)
    again = TensorboardTracker(str(tmp_path))
    again.begin(tmp_path, 10)
    again.log_metrics({"train/loss": -1.0}, 20)
    again.finish(failed=False)
    found = accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    tags = found.Tags()
    assert tags["scalars"] == ["train/loss"]
    text = found.Tensors("test/figures/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text.splitlines()[-2:] == ["| test/fpd | 0.25 |", "| test/fpd/error | 0.125 |"]
    assert tracker.where() == f"tensorboard --logdir {tmp_path}"
    assert set(tags["images"]) == {"val/observables", "test/observables"}
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert losses == [(0, 0.0), (10, 1.25), (20, -1.0)]
    text = found.Tensors("test/observables/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text.splitlines()[-1] == "| e\\|tot | 0.5 |  |"
    assert b"width: 3" in found.Tensors("configuration/text_summary")[0].tensor_proto.string_val[0]


def mlflow(folder: Path, version: str | None = None) -> MlflowTracker:
    return MlflowTracker(
        folder=str(folder),
        experiment="toy",
        group="sweep",
        name="run",
        tags=["a", "b"],
        artifacts=True,
        version=version,
    )


def test_mlflow_keeps_figures_images_tables_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker = mlflow(tmp_path / "mlruns")
    use(tracker, tmp_path)
    tracker.finish(failed=True)
    client = tracking.MlflowClient(str(tmp_path / "mlruns"))
    name = earlier(tmp_path)["mlflow"]
    assert client.get_run(name).info.status == "FAILED"
    again = mlflow(tmp_path / "mlruns", name)
    again.log_hyperparams({"model": {"width": 4}})
    again.begin(tmp_path, 20)
    again.log_metrics({"train/loss": -1.0}, 30)
    again.finish(failed=False)
    run = client.get_run(name)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"model.width": "3"}
    assert run.data.metrics == {"train/loss": -1.0, "test/fpd": 0.25, "test/fpd.error": 0.125}
    assert run.data.tags["group"] == "sweep"
    losses = [(m.step, m.value) for m in client.get_metric_history(name, "train/loss")]
    assert losses == [(0, 0.0), (10, 1.25), (20, 2.5), (30, -1.0)]
    kept = {
        item.path
        for place in ("", "images", "tables", "model")
        for item in client.list_artifacts(name, place)
    }
    assert {"config.yaml", "model/pixel.png", "tables/test_observables.csv"} <= kept
    assert sum(path.startswith("images/") and path.endswith(".png") for path in kept) == 2


def test_an_mlflow_that_does_not_open_a_run_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mlflow.tracking")
    with pytest.raises(UserError, match=r"MLflow at .* did not open a run"):
        mlflow(tmp_path / "mlruns", "0" * 32).begin(tmp_path, 3)


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow.tracking")]
)
def test_a_missing_package_is_one_sentence(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    config = composed("logger", f"logger={name}", f"paths.run={tmp_path}")
    assert set(config) == {"csv", name}
    with pytest.raises(UserError, match=rf"logger={name} needs .*install simulacra\[trackers\]"):
        instantiate(config[name], Tracker)


def test_names_of_figures_do_not_collide_in_mlflows_folders() -> None:
    assert [key_of(key) for key in ("epoch", "test/fpd", "test/fpd/error", "val/w1/a/b")] == [
        "epoch",
        "test/fpd",
        "test/fpd.error",
        "val/w1.a.b",
    ]
