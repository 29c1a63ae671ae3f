"""The SLURM preset with a stand-in for the batch system: ranks, arrays, pre-emption."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from simulacra.training import checkpoint

pytest.importorskip("submitit", reason="needs simulacra[slurm]")
STAND_IN = Path(__file__).parents[1] / "batch_system.py"
TRAINING = (
    *("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "trainer=slurm", "experiment=toy"),
    *("trainer.accelerator=cpu", "trainer.devices=2", "trainer.threads=1", "callbacks=minimal"),
    *(
        "trainer.deterministic=true",
        "logger=csv",
        "trainer.max_steps=-1",
        "trainer.max_epochs=40",
        "evaluation=quick",
    ),
)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the state of a batch system, whose commands are in the search path."""
    folder = tmp_path / "batch"
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" {name} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("BATCH_SYSTEM", str(folder))
    return folder


@pytest.mark.grid
def test_a_job_that_is_pre_empted_goes_on_in_its_place_bit_for_bit(
    project: Path, state: Path
) -> None:
    """Of two like jobs of two ranks each, the first is pre-empted when it has a checkpoint."""
    sweep = project / "sweep"
    jobs = [sweep / "0_seed-1", sweep / "1_seed-1"]
    (state / "preempt").write_text(str(jobs[0] / "checkpoints" / "last.ckpt"))
    words = ("train", "-m", *TRAINING, "seed=1,1", f"hydra.sweep.dir={sweep}")
    done = subprocess.run(
        [sys.executable, "-m", "simulacra", *words], capture_output=True, text=True, timeout=280
    )
    logs = {path.name: path.read_text() for path in sorted(state.glob("*.txt"))}
    assert done.returncode == 0, done.stderr[-2000:] + "\n".join(logs.values())[-4000:]
    flags = dict(line.split("=", 1) for line in logs["flags.txt"].splitlines())
    assert flags["nodes"] == "1"
    assert flags["ntasks-per-node"] == flags["gpus-per-node"] == "2"
    assert flags["array"] == "0-1%2"
    assert (state / "41000_0.state").read_text() == "COMPLETED"  # the other may be about to end
    first, second = logs["41000_0.0.txt"], logs["41000_1.0.txt"]
    assert "this job is preempted" in first
    assert "this job is preempted" not in second
    found = [checkpoint.read(job / "checkpoints" / "last.ckpt") for job in jobs]
    assert [item["epoch"] for item in found] == [39, 39]
    weights = [item["state_dict"] for item in found]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert all((job / "metrics.json").is_file() for job in jobs)
