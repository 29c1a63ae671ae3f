"""Trainings of two processes of which one dies or is asked to stop: the other never stays behind.

Each is a command of its own in a process group of its own, so that whoever is left can be found.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from simulacra.running.ranks import GRACE
from simulacra.training import checkpoint

pytestmark = pytest.mark.faults

PROJECT = Path(__file__).parents[1] / "integration" / "toy_project"
PLAIN = (
    "experiment=toy",
    "trainer=ddp_cpu",
    "logger=csv",
    "callbacks.physics=null",
    "callbacks.classifier=null",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
)
LONG = ("trainer.max_epochs=60",)
MINUTE = 60.0


def listening() -> None:
    """Before the command starts: take Ctrl-C, which what runs in the background of a shell does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Command:
    """A training in the background.

    Args:
        project: Current folder of the command.
        arguments: Of the command line.
    """

    def __init__(self, project: Path, *arguments: str) -> None:
        self.log = project.parent / f"{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "simulacra", "train", *arguments],
                cwd=project,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=listening,
            )

    @property
    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def others(self) -> list[int]:
        """Processes of the group but for the first."""
        return [
            int(pid) for pid, group, _ in listed() if int(group) == self.process.pid != int(pid)
        ]

    @property
    def child(self) -> int | None:
        """The second process of the training, once it is there."""
        own = [item for item in listed() if int(item[1]) == self.process.pid]
        found = [int(pid) for pid, _, line in own if "train_ddp_process_1" in line]
        return found[0] if found else None

    def until(self, condition: Callable[[], bool], seconds: float = 3 * MINUTE) -> float:
        """Wait; returns for how long [s]."""
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() < begin + seconds, f"{seconds:g} s: {self.said}"
            time.sleep(0.02)
        return time.monotonic() - begin

    def ended(self, seconds: float = MINUTE) -> int:
        """Exit code, once no process is left."""
        self.until(lambda: self.process.poll() is not None, seconds)
        self.until(lambda: not self.others, seconds)
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None or self.others:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def listed() -> list[list[str]]:
    """Number, group and command line of all processes."""
    done = subprocess.run(["ps", "-wweo", "pid=,pgid=,args="], capture_output=True, text=True)
    return [line.split(maxsplit=2) for line in done.stdout.splitlines()]


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []
    shutil.copytree(PROJECT, tmp_path / "project")

    def start(*arguments: str) -> Command:
        started.append(Command(tmp_path / "project", *arguments))
        return started[-1]

    yield start
    for command in started:
        command.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of a training that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(PROJECT, folder / "project")
    command = Command(folder / "project", *PLAIN, *LONG, f"hydra.run.dir={folder / 'run'}")
    assert command.ended(4 * MINUTE) == 0, command.said
    return weights(folder / "run")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(run / "checkpoints" / "last.ckpt")["state_dict"]


def advice(run: Path) -> str:
    return f"; go on with: simulacra train resume={run}"


@pytest.mark.parametrize(
    ("rank", "number", "code", "reason"),
    [
        (1, signal.SIGKILL, 1, "training stopped: another of its processes has died (process 1 by SIGKILL)"),
        (0, signal.SIGKILL, -9, "training stopped: another of its processes has died"),
        (1, signal.SIGTERM, 143, "stopped by SIGTERM"),
        (0, signal.SIGTERM, 143, "stopped by SIGTERM"),
        (0, signal.SIGINT, 130, "stopped by SIGINT"),
    ],
    ids=["1-KILL", "0-KILL", "1-TERM", "0-TERM", "0-INT"],
)  # fmt: skip
def test_all_processes_end_with_one_sentence_and_the_run_goes_on(
    rank: int,
    number: signal.Signals,
    code: int,
    reason: str,
    train: Callable[..., Command],
    whole: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    command = train(*PLAIN, *LONG, f"hydra.run.dir={run}")
    command.until((run / "checkpoints" / "last.ckpt").is_file)
    time.sleep(0.3)
    os.kill(command.child if rank else command.process.pid, number)
    assert command.ended() == code, command.said
    assert command.said == [f"simulacra: {reason}{advice(run)}"]
    assert not list(run.rglob(".process-*"))
    if number == signal.SIGTERM:  # as SIGINT from here on
        return
    resumed = train(f"resume={run}", "allow=[toy_plugin]")
    assert resumed.ended(4 * MINUTE) == 0, resumed.said
    found = weights(run)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        assert torch.equal(value, found[name]), name


def test_a_child_whose_parent_dies_before_they_have_met_ends_too(
    train: Callable[..., Command], tmp_path: Path
) -> None:
    command = train(*PLAIN, f"hydra.run.dir={tmp_path / 'run'}")
    command.until(lambda: command.child is not None)
    command.process.kill()
    command.process.wait()
    assert command.until(lambda: not command.others, MINUTE) < GRACE + MINUTE / 2
    assert command.said == ["simulacra: training stopped: the first of its processes has died"]


def test_a_parent_whose_child_dies_before_they_have_met_ends_too(
    train: Callable[..., Command], tmp_path: Path
) -> None:
    command = train(*PLAIN, f"hydra.run.dir={tmp_path / 'run'}")
    command.until(lambda: command.child is not None)
    os.kill(command.child, signal.SIGKILL)
    assert command.ended() == 1
    assert command.said == [
        "simulacra: training stopped: another of its processes has died (process 1 by SIGKILL); start again"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_processes_have_met_ends_them(
    number: signal.Signals, train: Callable[..., Command], tmp_path: Path
) -> None:
    command = train(*PLAIN, f"hydra.run.dir={tmp_path / 'run'}")
    command.until(lambda: command.child is not None)
    os.killpg(command.process.pid, number)  # as a terminal and a batch system do
    assert command.ended() == 128 + number, command.said
    assert command.said == [f"simulacra: stopped by {number.name}"]


def test_what_all_processes_find_is_said_once(
    train: Callable[..., Command], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = train(*PLAIN, "model.optimizer.lr=1e30", f"hydra.run.dir={run}")
    assert command.ended(2 * MINUTE) == 1
    (said,) = command.said
    assert said.startswith("simulacra: training stopped: the loss inf of the objective 'flow'")
    assert not list(run.rglob(".process-*"))
