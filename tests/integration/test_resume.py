"""Runs that are killed, interrupted, resumed, repeated."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import wandb

from simulacra.cli.reproduce import compare, reproduce
from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.training import checkpoint

Run = Callable[..., tuple[Path, dict[str, float]]]
SHORT = ("callbacks.physics=null", "callbacks.classifier=null")


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulacra", "train", "experiment=toy", "logger=csv", *SHORT]
    command += [f"hydra.run.dir={folder}", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def states(run: Path) -> dict[str, torch.Tensor]:
    contents = checkpoint.read(run / "checkpoints" / "last.ckpt")
    return {
        f"{part}/{name}": value
        for part in ("state_dict", "current_model_state", "averaging_state")
        for name, value in contents[part].items()
    }


def resume(run: Path) -> None:
    train(compose("train", [f"resume={run}", "allow=[toy_plugin]", f"paths.run={run}"]))


def logged(run: Path) -> list[dict[str, str]]:
    """Rows of the table, without what the clock says."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = [name for name in rows[0] if name.startswith("perf/") or "time" in name]
    return [{name: row[name] for name in row if name not in timed} for row in rows]


def assert_equal(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(run_toy: Run, project: Path) -> None:
    whole, _ = run_toy("whole", "trainer.max_epochs=40", *SHORT)
    run = project / "outputs" / "killed"
    last = run / "checkpoints" / "last.ckpt"
    process = start(run, "trainer.max_epochs=40")
    wait_for(last.is_file, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert checkpoint.read(last)["epoch"] < 39, "the run ended before it was killed"
    resume(run)
    assert_equal(states(whole), states(run))


def test_two_objectives_resume_bit_for_bit(run_toy: Run) -> None:
    gan = ("model=toy_gan", "trainer.max_epochs=4", *SHORT)
    whole, _ = run_toy("whole", *gan)
    stop = "+callbacks.stop={_target_: toy_plugin.Signal, number: null, epoch: 2, batch: 0}"
    with pytest.raises(SystemExit):
        run_toy("stopped", *gan, stop)
    run = whole.parent / "stopped"
    assert checkpoint.read(run / "checkpoints" / "last.ckpt")["epoch"] == 1
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("epoch: 2", "epoch: 99"))
    with (run / "metrics.csv").open("ab") as table:
        table.write(b"400,")  # as a run leaves it that was killed long after its last checkpoint
    resume(run)
    assert_equal(states(whole), states(run))
    assert logged(run) == logged(whole)


@pytest.fixture
def listening() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a process started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_saves_its_last_checkpoint(
    number: signal.Signals, run_toy: Run, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = f"+callbacks.sent={{_target_: toy_plugin.Signal, number: {int(number)}, epoch: 1, batch: 3}}"
    with pytest.raises(SystemExit) as stopped:
        run_toy("stopped", "logger=default", sent, *SHORT)
    run = project / "outputs" / "stopped"
    assert stopped.value.code not in (0, None)
    assert f"resume={run}" in caplog.text
    contents = checkpoint.read(run / "checkpoints" / "last.ckpt")
    assert contents["global_step"] in (
        11,
        12,
    )  # 8 batches in epoch 0, then up to the one in which the signal came
    assert (run / "metrics.csv").is_file()
    assert wandb.run is None  # the tracked run is finished
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_reproducing_is_bitwise_equal(run_toy: Run, project: Path) -> None:
    run, _ = run_toy("original", "trainer.max_epochs=2")
    again = project / "outputs" / "again"
    found = reproduce(
        compose("reproduce", [f"run={run}", f"paths.run={again}", "allow=[toy_plugin]"])
    )
    assert found["verdict"] == "equal"
    assert (again / "verdict.json").is_file()
    assert (again / "checkpoints" / "best.ckpt").is_file()


def test_a_changed_run_is_close_and_says_by_how_much(run_toy: Run, project: Path) -> None:
    run, _ = run_toy("original", "trainer.max_epochs=1", *SHORT)
    again = project / "outputs" / "again"
    asked = [f"run={run}", f"paths.run={again}", "allow=[toy_plugin]", "overrides=['seed=4']"]
    found = reproduce(compose("reproduce", asked))
    assert found["verdict"] == "close"
    assert 0 < found["difference"] < 10
    assert found["where"]


def test_models_of_other_sizes_are_different(run_toy: Run) -> None:
    runs = [
        run_toy(f"width{width}", f"model.width={width}", "trainer.max_epochs=1", *SHORT)[0]
        for width in (8, 16)
    ]
    assert compare(*runs).verdict == "different"


def test_a_saved_configuration_runs_no_foreign_code(run_toy: Run, project: Path) -> None:
    run, _ = run_toy("original", "trainer.max_epochs=1", *SHORT)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("torch.optim.Adam", "os.system"))
    asked = [f"run={run}", f"paths.run={project / 'again'}", "allow=[toy_plugin]"]
    with pytest.raises(UserError, match=r"os\.system.*was not run"):
        reproduce(compose("reproduce", asked))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nothing=1"], "nothing"),
        (["model=toy_gan"], "start a new run"),
        (["seed=1,2"], "several values"),
    ],
)
def test_a_saved_run_takes_only_changes_of_its_fields(
    run_toy: Run, project: Path, overrides: list[str], message: str
) -> None:
    run, _ = run_toy("original", "callbacks=minimal", "trainer.max_epochs=1")
    quoted = ",".join(f"'{item}'" for item in overrides)
    with pytest.raises(UserError, match=message):
        reproduce(
            compose(
                "reproduce", [f"run={run}", f"paths.run={project / 'x'}", f"overrides=[{quoted}]"]
            )
        )


def test_there_must_be_something_to_resume(project: Path) -> None:
    with pytest.raises(UserError, match="no run directory"):
        train(compose("train", ["resume=nowhere", "paths.run=nowhere"]))
