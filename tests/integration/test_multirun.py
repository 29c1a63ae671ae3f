"""Several jobs and several processes, on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from simulacra.cli.main import main
from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.running.strategy import WatchedShards
from simulacra.training import checkpoint


def simulacra(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulacra", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


@pytest.mark.grid
def test_two_jobs_of_two_processes_each(project: Path) -> None:
    done = simulacra(
        "train",
        "-m",
        "experiment=toy",
        "model=toy_flow,toy_gan",
        "trainer=ddp_cpu",
        "trainer.max_epochs=1",
        "trainer.max_steps=-1",
        "+callbacks.fingerprint={_target_: toy_plugin.Fingerprint, folder: '${paths.run}'}",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sweep = next((project / "outputs" / "sweeps" / "multirun").iterdir())
    jobs = sorted(path for path in sweep.iterdir() if path.is_dir())
    assert [job.name for job in jobs] == ["0_toy_flow", "1_toy_gan"]
    ids = []
    for job, model in zip(jobs, ("toy_flow", "toy_gan"), strict=True):
        config = OmegaConf.load(job / "config.yaml")
        assert config.model.name == model
        assert config.logger.wandb.group == f"multirun-{sweep.name}"
        ranks = [json.loads((job / f"rank{rank}.json").read_text()) for rank in (0, 1)]
        assert ranks[0]["digest"] == ranks[1]["digest"]
        assert [rank["world"] for rank in ranks] == [2, 2]
        assert sum(rank["seen"] for rank in ranks) == 128  # every validation event once
        figures = json.loads((job / "metrics.json").read_text())
        assert figures["test/events"] == 96
        ids.append(json.loads((job / "tracker.json").read_text())["wandb"]["id"])
    runs = {
        path.name.split("-")[-1] for path in (project / "outputs" / "wandb").glob("offline-run-*")
    }
    assert runs == set(ids)
    assert len(runs) == 2
    table = (sweep / "table.md").read_text()
    assert "model=toy_flow" in table
    assert "experiment=toy" not in table
    assert not (project / "outputs" / "train").exists()


VIT = (
    *("model=vit", "model/size=tiny", "data=ds2", "data.limit=32", "data.batch_size=8"),
    *("trainer=ddp_cpu", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "logger=csv"),
    *("evaluation=quick", "evaluation.events=20", "evaluation.replicas=2", "evaluation.draw=false"),
)


@pytest.mark.grid
@pytest.mark.timeout(900)
def test_processes_with_parts_of_the_weights_write_the_checkpoints_of_whole_ones(
    project: Path,
) -> None:
    found = []
    for strategy, other in (("ddp", "fsdp2"), ("fsdp2", "ddp")):
        run = project / strategy
        done = simulacra("train", *VIT, f"trainer.strategy={strategy}", f"paths.run={run}")
        assert done.returncode == 0, done.stderr[-3000:]
        more = ("trainer.max_epochs=2", f"trainer.strategy={other}")
        done = simulacra("train", f"resume={run}", *more)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(checkpoint.read(run / "checkpoints" / "last.ckpt"))
    whole, parts = found
    assert whole.keys() == parts.keys()
    torch.testing.assert_close(whole["state_dict"], parts["state_dict"])
    moments, others = (item["optimizer_states"][0]["state"] for item in found)
    torch.testing.assert_close(moments, others)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("toy_gan", "trains one objective, which takes every turn once"),
        ("toy_flow", "the model gathers 3, the first is 'running.num_batches_tracked'"),
    ],
)
def test_weights_that_processes_cannot_keep_in_parts_are_refused(
    project: Path, model: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WatchedShards, "setup_environment", lambda _: None)  # no processes
    monkeypatch.setattr(WatchedShards, "_configure_launcher", lambda _: None)
    words = ("experiment=toy", f"model={model}", "trainer.strategy=fsdp2", "trainer.max_epochs=1")
    with pytest.raises(UserError, match=said):
        train(compose("train", [*words, f"paths.run={project / 'run'}"]))


def test_wrong_input_ends_in_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "data=toy", "reference=no.hdf5"])
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert "no.hdf5" in error
    assert error.count("\n") == 1


def test_the_traceback_comes_when_it_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UserError, match=r"no\.hdf5"):
        main(["evaluate", "data=toy", "reference=no.hdf5"])


def test_a_job_that_falls_behind_ends_early_and_the_table_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        [
            "train",
            "-m",
            "experiment=toy",
            "callbacks=pruning",
            "callbacks.best.monitor=val/w1_mean",
            "callbacks.pruning.jobs=1",
            "callbacks.pruning.warmup=1",
            "callbacks.classifier=null",
            "logger=csv",
            "trainer.max_epochs=4",
            "trainer.max_steps=-1",
            "model.optimizer.lr=1e-2,1e-6",
        ]
    )
    sweep = next((project / "outputs" / "sweeps" / "multirun").iterdir())
    jobs = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert jobs == ["0_lr-0.01", "1_lr-1e-06"]
    steps = [checkpoint.read(sweep / job / "checkpoints" / "last.ckpt")["epoch"] for job in jobs]
    assert steps == [3, 1]  # from 0; the second validation is the first that is compared
    assert (
        sweep / jobs[1] / "metrics.json"
    ).is_file()  # what it has reached is tested as any other
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing == f"wrote {(sweep / 'table.md').relative_to(project)}"
    table = (sweep / "table.md").read_text()
    assert "±" not in table
