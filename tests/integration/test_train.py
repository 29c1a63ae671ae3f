from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf

import simulacra
from simulacra.cli.reproduce import reproduce
from simulacra.cli.train import train
from simulacra.core import IncompatibleError, UserError
from simulacra.evaluation.config import compose
from simulacra.metrics import EvaluationResult
from simulacra.tracking.runs import earlier
from simulacra.training import checkpoint

Run = Callable[..., tuple[Path, dict[str, float]]]


def one_figure(result: EvaluationResult, *how: object, **pages: object) -> dict[str, Figure]:
    """An empty page: the real ones are drawn in the tests of plotting."""
    assert result.profiles
    return {"profiles": Figure()}


def test_a_run_leaves_and_says_what_it_promises(
    run_toy: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    for module in ("tracking.draw.figures", "callbacks.physics.figures"):
        monkeypatch.setattr(f"simulacra.{module}", one_figure)
    run, figures = run_toy(
        "whole", "callbacks.physics.draw=true", "evaluation.draw=true", "trainer.max_epochs=1"
    )
    said = [message.split()[0] for message in caplog.messages]
    stages = ["transform", "model", "data", "run", "table", "training", "test", "judging", "report"]
    assert [word for word in said if word in stages] == stages
    assert "toy_flow (small), ToyFlow: 1,664 parameters, on cpu with 1 thread" in caplog.text
    assert "toy: 512 training, 128 validation and 96 test events" in caplog.text
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing.startswith(f"wrote {run / 'report.html'}: boosted AUC ")
    there = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "metrics.json", "report.html"} <= there
    assert {path for path in there if path.startswith("checkpoints")} == {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    names = {path for path in there if path.startswith("figures/")}
    assert any(path.startswith("figures/val_") for path in names)
    assert any(not path.startswith("figures/val_") for path in names)
    assert json.loads((run / "metrics.json").read_text()) == pytest.approx(figures)
    for key in ("test/classifier/boosted/auc", "test/w1_mean"):
        assert figures[f"{key}/floor"] >= 0
        assert figures[f"{key}/error"] > 0
    assert figures["test/time_per_event_ms"] > 0
    with (run / "metrics.csv").open() as file:
        columns = csv.DictReader(file).fieldnames or ()
    assert {
        "train/loss",
        "train/grad_norm",
        "perf/events_per_s",
        "perf/lr",
        "perf/loader_fraction",
    } <= set(columns)
    assert {"val/boosted_auc", "val/w1_mean", "val/loss", "test/w1_mean"} <= set(columns)


def test_training_brings_the_toy_near_the_truth(run_toy: Run) -> None:
    _, untrained = run_toy("untrained", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    _, trained = run_toy("trained", "trainer.max_epochs=15", "trainer.check_val_every_n_epoch=5")
    assert trained["test/w1_mean"] < 0.3 * untrained["test/w1_mean"]
    assert trained["best/val/boosted_auc"] < untrained["best/val/boosted_auc"]


def test_a_checkpoint_stands_alone(
    run_toy: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, _ = run_toy("alone", "callbacks=minimal", "trainer.max_epochs=1")
    monkeypatch.chdir(tmp_path)
    module = simulacra.load(run / "checkpoints" / "last.ckpt", allow=("toy_plugin",))
    batch = module.sample(7, generator=torch.Generator().manual_seed(0))
    assert batch.x.shape == (7, 3, 4, 4)
    entry = checkpoint.read(run / "checkpoints" / "last.ckpt")["simulacra"]
    assert entry["config"]["model"]["name"] == "toy_flow"
    low, high = entry["trained_range"]["incident_energy"]
    assert 10 <= low < high <= 100
    assert entry["provenance"]["toy"] == "made up"
    assert entry["provenance"]["torch"] == torch.__version__
    with pytest.raises(UserError, match="toy_plugin"):
        simulacra.load(run / "checkpoints" / "last.ckpt")


def test_a_training_is_tracked_by_all_trackers_at_once(
    run_toy: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setattr("simulacra.callbacks.physics.figures", one_figure)
    options = ("trainer.max_epochs=1", "callbacks.physics.draw=true", "callbacks.classifier=null")
    run, figures = run_toy("tracked", "logger=[tensorboard,mlflow]", *options)
    name = earlier(run)["mlflow"]
    client = tracking.MlflowClient(str(project / "outputs" / "mlruns"))
    assert client.get_run(name).data.metrics["test/w1_mean"] == figures["test/w1_mean"]
    assert any(item.path.endswith(".png") for item in client.list_artifacts(name, "images"))
    assert client.list_artifacts(name, "model")[0].path == "model/best.ckpt"
    assert list((run / "tensorboard").glob("events.out.*"))
    assert (run / "metrics.csv").is_file()


def test_several_objectives_train_with_clipping_and_accumulation(run_toy: Run) -> None:
    run, figures = run_toy(
        "gan", "model=toy_gan", "trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=2"
    )
    assert figures["test/w1_mean"] > 0
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert any(row["train/critic/grad_norm"] for row in rows)
    assert any(row["perf/lr/1"] for row in rows)


def test_the_saved_configuration_is_resolved_and_complete(run_toy: Run) -> None:
    run, _ = run_toy("saved", "callbacks=minimal", "trainer.max_epochs=1", "logger=none", "seed=3")
    config = OmegaConf.load(run / "config.yaml")
    assert "${" not in (run / "config.yaml").read_text()
    assert config.data.seed == config.seed == 3
    assert config.model.width == 16


def test_fine_tuning_starts_from_the_weights_of_a_checkpoint(run_toy: Run) -> None:
    first, _ = run_toy("first", "callbacks=minimal", "trainer.max_epochs=2")
    path = first / "checkpoints" / "last.ckpt"
    second, _ = run_toy(
        "second",
        "callbacks=minimal",
        "trainer.max_epochs=1",
        f"init={path}",
        "seed=7",
        "model.optimizer.lr=0.0",
        "model.scheduler=null",
    )
    a, b = (
        checkpoint.read(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (first, second)
    )
    assert torch.equal(a["net.0.weight"], b["net.0.weight"])
    fresh, _ = run_toy("fresh", "callbacks=minimal", "trainer.max_epochs=1", "seed=7")
    c = checkpoint.read(fresh / "checkpoints" / "last.ckpt")["state_dict"]
    assert not torch.equal(a["net.0.weight"], c["net.0.weight"])


def test_adapted_weights_alone_move_and_the_checkpoint_stands_alone(run_toy: Run) -> None:
    first, _ = run_toy("first", "callbacks=minimal", "trainer.max_epochs=1")
    path = first / "checkpoints" / "last.ckpt"
    began = checkpoint.read(path)["state_dict"]
    run, _ = run_toy("second", "trainer.max_epochs=2", f"init={path}", "adapt=lora")
    path.unlink()
    module = checkpoint.load(run / "checkpoints" / "last.ckpt", allow=["toy_plugin"])
    contents = checkpoint.read(run / "checkpoints" / "last.ckpt")
    given, live = contents["state_dict"], contents["current_model_state"]
    for name in ("net.0.bias", "running.running_mean", "running.num_batches_tracked"):
        assert torch.equal(given[name], began[name]), name
    weight = "net.0.parametrizations.weight"
    for state in (given, live):  # an average of what does not move is the same, too
        assert torch.equal(state[f"{weight}.original"], began["net.0.weight"])
    low = given[f"{weight}.0.b"] @ given[f"{weight}.0.a"]
    assert low.abs().max() > 0
    # alpha is 16, the rank that of a matrix of one column
    torch.testing.assert_close(module.net[0].weight, began["net.0.weight"] + 16 * low)


def test_a_wrong_pair_names_what_fits(run_toy: Run) -> None:
    with pytest.raises(
        IncompatibleError, match=r"needs a grid.*models that fit jetnet30.*epic_fm.*toy_flow: .*toy"
    ) as found:
        run_toy("wrong", "data=jetnet30")
    assert "\n" not in str(found.value)


def test_a_taken_directory_is_not_overwritten(run_toy: Run) -> None:
    run_toy("taken", "callbacks=minimal", "trainer.max_epochs=1")
    with pytest.raises(UserError, match="holds a run already"):
        run_toy("taken", "callbacks=minimal", "trainer.max_epochs=1")


def test_a_requeued_job_goes_on_in_place(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = run_toy("queued", "trainer.max_epochs=2")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run_toy("queued", "trainer.max_epochs=4")
    assert checkpoint.read(run / "checkpoints" / "last.ckpt")["epoch"] == 3
    with (run / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps[0] == 0
    assert len(steps) == len(set(steps))


def test_training_needs_an_end(run_toy: Run) -> None:
    with pytest.raises(UserError, match="needs an end"):
        run_toy("endless", "trainer.max_epochs=null")


def test_without_callbacks_and_trackers_it_trains_and_tests(run_toy: Run) -> None:
    run, figures = run_toy("bare", "~callbacks", "~logger", "trainer.max_epochs=1")
    assert figures["test/w1_mean"] > 0
    assert not (run / "checkpoints").exists()


@pytest.mark.parametrize(
    ("bounds", "steps"),
    [
        (["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2"], [15, 23]),
        (["trainer.max_steps=12", "trainer.check_val_every_n_epoch=5"], [11]),
    ],
)
def test_the_end_is_always_validated(run_toy: Run, bounds: list[str], steps: list[int]) -> None:
    run, _ = run_toy("ended", *bounds, "callbacks.physics=null")
    with (run / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file) if row["val/boosted_auc"]] == steps


def test_a_training_that_improves_no_more_ends_and_stays_ended(run_toy: Run, project: Path) -> None:
    options = ("callbacks=early_stopping", "callbacks.early_stopping.min_delta=10", "seed=1")
    patience = ("callbacks.early_stopping.patience=2", "trainer.max_epochs=9")
    run, _ = run_toy("early", *options, *patience)
    last = run / "checkpoints" / "last.ckpt"
    first = checkpoint.read(last)
    assert first["epoch"] == 2  # from 0: the first validation cannot be worse than anything
    train(compose("train", [f"resume={run}", f"paths.run={run}", "allow=[toy_plugin]"]))
    again = checkpoint.read(last)
    assert again["global_step"] == first["global_step"]
    assert (run / "report.html").is_file()
    place = project / "outputs" / "again"
    asked = [f"run={run}", f"paths.run={place}", "allow=[toy_plugin]"]
    assert reproduce(compose("reproduce", asked))["verdict"] == "equal"


def test_a_profile_is_written_and_shown(run_toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("trainer.profiler=simple", "trainer.max_epochs=1", "callbacks=minimal")
    run, _ = run_toy("profiled", *options)
    out = capsys.readouterr().out
    assert "run_training_epoch" in out
    assert f"all of it: {run / 'fit-profile.txt'}" in out
    assert "optimizer_step" in (run / "fit-profile.txt").read_text()


def test_one_batch_is_learnt_by_heart(run_toy: Run) -> None:
    options = ("debug=overfit", "trainer.max_epochs=40", "trainer.check_val_every_n_epoch=40")
    run, _ = run_toy("overfit", *options)
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/loss")]
    assert len(rows) >= 4
    assert OmegaConf.load(run / "config.yaml").data.limit == 64
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
