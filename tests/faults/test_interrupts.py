"""Trainings that are interrupted at random moments end as the uninterrupted one, bit for bit.

Each is started in a fork of this process, gets SIGINT, SIGTERM or SIGKILL at a random moment after its first
step, goes on with ``train resume=RUN`` in another fork, and is compared with a run that was left alone:
weights, averages, optimizers, schedules, the best weights and score, and every row of ``metrics.csv``.

Nothing that was measured is excepted but the figures of time.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.cli.main import main
from simulacra.training import checkpoint

pytestmark = pytest.mark.faults

PROJECT = Path(__file__).parents[1] / "integration" / "toy_project"
COMMON = (
    "logger=csv",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
    "trainer.check_val_every_n_epoch=2",
    "trainer.log_every_n_steps=1",
    "callbacks.physics.events=60",
    "callbacks.physics.draw=false",
    "callbacks.classifier.events=60",
    "evaluation.events=60",
    "evaluation.draw=false",
)
SHOWERS = (
    "model=caloinn",
    "model/size=tiny",
    "data=ds1_photons",
    "data.limit=512",
    "data.batch_size=32",
)
TOY = ("experiment=toy", "data.batch_size=32")
TRAININGS = {
    "one objective": (*SHOWERS, "trainer.max_epochs=5"),
    "accumulation": (*SHOWERS, "trainer.max_epochs=5", "trainer.accumulate_grad_batches=3"),
    "steps and loading processes": (
        *SHOWERS, "trainer.max_epochs=-1", "trainer.max_steps=72", "data.workers=2",
    ),
    "several objectives": (
        *TOY, "model=toy_gan", "trainer.max_epochs=12", "trainer.accumulate_grad_batches=3",
    ),
    "phases": (*TOY, "model=toy_phases", "trainer.max_epochs=12"),
}  # fmt: skip
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOMENTS = 4
"""Of each signal in each training: 60 in all."""


def start(run: Path, *arguments: str) -> int:
    """Run a command in a fork, with its streams in a file beside ``run``; returns the process."""
    child = os.fork()
    if child:
        return child
    code: Any = 1
    try:
        with run.with_suffix(".log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(run.parent / "project")
        sys.argv = ["simulacra"]
        try:
            main(arguments)
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def ended(process: int) -> int | None:
    """Exit code, or minus the signal; None while the process runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def wait(process: int, log: Path, seconds: float = 240.0) -> int:
    end = time.monotonic() + seconds
    while (code := ended(process)) is None:
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise AssertionError(f"no end after {seconds:g} s: {log.read_text()[-2000:]}")
        time.sleep(0.01)
    return code


def begun(run: Path, process: int) -> None:
    """Wait for the first row."""
    while not (run / "metrics.csv").is_file():
        assert ended(process) is None, run.with_suffix(".log").read_text()[-2000:]
        time.sleep(0.01)


@dataclass
class Whole:
    """A run that was left alone, and how long it took from its first row to its last checkpoint [s]."""

    run: Path
    seconds: float


@pytest.fixture(scope="module")
def wholes() -> dict[str, Whole]:
    return {}


@pytest.fixture
def whole(
    training: str, wholes: dict[str, Whole], tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    if training not in wholes:
        run = tmp_path_factory.mktemp("whole") / "run"
        shutil.copytree(PROJECT, run.parent / "project")
        process = start(run, "train", *TRAININGS[training], *COMMON, f"hydra.run.dir={run}")
        begun(run, process)
        before = time.time()
        assert wait(process, run.with_suffix(".log")) == 0, run.with_suffix(".log").read_text()
        last = (run / "checkpoints" / "last.ckpt").stat().st_mtime
        wholes[training] = Whole(run, last - before)
    return wholes[training]


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("training", TRAININGS)
def test_an_interrupted_training_ends_as_the_uninterrupted_one(
    training: str, number: signal.Signals, moment: int, whole: Whole, tmp_path: Path
) -> None:
    run, log = tmp_path / "run", tmp_path / "run.log"
    shutil.copytree(PROJECT, tmp_path / "project")
    draw = random.Random(f"{training} {number} {moment}")
    for attempt in range(
        5
    ):  # until the signal comes before the end, also where the machine was busier
        log.unlink(missing_ok=True)
        process = start(run, "train", *TRAININGS[training], *COMMON, f"hydra.run.dir={run}")
        begun(run, process)
        last = run / "checkpoints" / "last.ckpt"
        while number == signal.SIGKILL and not last.is_file():
            time.sleep(0.01)
        time.sleep(draw.uniform(0, whole.seconds / 2**attempt))
        code = 0
        if ended(process) is None:
            os.kill(process, number)
            code = wait(process, log)
        if code:  # 0: all was done before the signal was seen
            break
        shutil.rmtree(run)
    assert code == (-number if number == signal.SIGKILL else 128 + number), log.read_text()
    assert not list(run.rglob("*.part")) or number == signal.SIGKILL
    assert "Traceback" not in log.read_text()
    assert wait(start(run, "train", f"resume={run}", "allow=[toy_plugin]"), log) == 0, (
        log.read_text()
    )
    assert "can cause unreliable results" not in log.read_text()
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (state(folder / "checkpoints" / name) for folder in (whole.run, run))
        assert_same(one, other, name)
    assert rows(whole.run) == rows(run)


def state(path: Path) -> dict[str, Any]:
    """What a run goes on from."""
    contents = checkpoint.read(path)
    parts = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    best = {k: v for k, v in contents["callbacks"].items() if k.startswith("BestCheckpoint")}
    return {
        **{part: contents[part] for part in (*parts, "lr_schedulers", "global_step", "epoch")},
        "best": [value["best_model_score"] for value in best.values()],
    }


def assert_same(one: Any, other: Any, place: str) -> None:
    """Equal to the last bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{place}/{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    else:
        assert one == other, place


def rows(run: Path) -> list[dict[str, str]]:
    """What was logged, but for measured times."""
    with (run / "metrics.csv").open(newline="") as file:
        found = [
            {k: v for k, v in row.items() if not k.startswith("perf/") and "time_per" not in k}
            for row in csv.DictReader(file)
        ]
    return [row for row in found if any(value for name, value in row.items() if name != "step")]
