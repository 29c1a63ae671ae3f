"""Runs that are killed, interrupted, resumed, repeated."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.cli.reproduce import compare, reproduce
from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.training import checkpoint

Run = Callable[..., tuple[Path, dict[str, float]]]
SHORT = ("callbacks.physics=null", "callbacks.classifier=null")


def states(run: Path) -> dict[str, torch.Tensor]:
    contents = checkpoint.read(run / "checkpoints" / "last.ckpt")
    return {
        f"{part}/{name}": value
        for part in ("state_dict", "current_model_state", "averaging_state")
        for name, value in contents[part].items()
    }


def spare(run: Path) -> None:
    """Send no signal when the run goes on."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("toy_plugin.Signal", "toy_plugin.Silent"))


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
    whole, _ = run_toy("whole", *SHORT)
    run = project / "outputs" / "killed"
    at = f"number: {int(signal.SIGKILL)}, epoch: 1, batch: 3"
    killed = f"+callbacks.sent={{_target_: toy_plugin.Signal, {at}}}"
    command = [sys.executable, "-m", "simulacra", "train", "experiment=toy", "logger=csv", *SHORT]
    done = subprocess.run(
        [*command, f"hydra.run.dir={run}", killed], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoint.read(run / "checkpoints" / "last.ckpt")["epoch"] == 0
    spare(run)
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
    spare(run)
    with (run / "metrics.csv").open("ab") as table:
        table.write(b"400,")  # as a run leaves it that was killed long after its last checkpoint
    resume(run)
    assert_equal(states(whole), states(run))
    assert logged(run) == logged(whole)


@pytest.mark.parametrize("way", [pytest.param("bias", marks=pytest.mark.faults), "lora"])
def test_adapted_weights_resume_bit_for_bit(run_toy: Run, way: str) -> None:
    first, _ = run_toy("first", "callbacks=minimal", "trainer.max_epochs=1")
    init = f"init={first / 'checkpoints' / 'last.ckpt'}"
    options = (init, f"adapt={way}", "trainer.max_epochs=4", *SHORT)
    whole, _ = run_toy("whole", *options)
    stop = "+callbacks.stop={_target_: toy_plugin.Signal, number: null, epoch: 2, batch: 3}"
    with pytest.raises(SystemExit):
        run_toy("stopped", *options, stop)
    run = whole.parent / "stopped"
    (first / "checkpoints" / "last.ckpt").unlink()
    spare(run)
    resume(run)
    assert_equal(states(whole), states(run))


def test_a_run_with_a_logger_and_a_callback_from_elsewhere_says_how_to_allow_them(
    run_toy: Run, project: Path
) -> None:
    place = project / "outputs" / "foreign"
    more = f"+logger.more={{_target_: pytorch_lightning.loggers.CSVLogger, save_dir: '{place}'}}"
    stop = "+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/w1_mean}"
    options = ("trainer.max_epochs=1", "callbacks.classifier=null", more, stop)
    run, _ = run_toy("foreign", *options)
    asked = [f"resume={run}", f"paths.run={run}"]
    with pytest.raises(UserError, match=r"was not run; allow=\[pytorch_lightning\]"):
        train(compose("train", [*asked, "allow=[toy_plugin]"]))
    train(compose("train", [*asked, "allow=[toy_plugin,pytorch_lightning]"]))
    assert len(list(place.glob("lightning_logs/version_*/metrics.csv"))) == 2


@pytest.fixture
def listening() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a process started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def rows(run: Path) -> list[dict[str, str]]:
    """What was logged, but for measured times."""
    with (run / "metrics.csv").open(newline="") as file:
        found = [
            {k: v for k, v in row.items() if not k.startswith("perf/") and "time_per" not in k}
            for row in csv.DictReader(file)
        ]
    return [row for row in found if any(value for name, value in row.items() if name != "step")]


ACCUMULATED = ("trainer.accumulate_grad_batches=3",)  # 8 batches an epoch: groups of 3, 3 and 2
PLACES = {
    "in a step": (1, 3, SHORT, 12),
    "in a group": (1, 3, (*ACCUMULATED, *SHORT), 5),
    "in the last step of an epoch": (1, 7, SHORT, 16),
    "in the last epoch": (2, 2, (*SHORT, "trainer.check_val_every_n_epoch=2"), 19),
    "in a validation": (1, "null", (), 16),
    "in the last validation": (2, "null", ("trainer.check_val_every_n_epoch=2",), 24),
    "where steps bound the run": (
        1,
        3,
        (*SHORT, "trainer.max_epochs=-1", "trainer.max_steps=21"),
        12,
    ),
    "in a validation where steps bound the run": (
        1,
        "null",
        ("trainer.max_epochs=-1", "trainer.max_steps=21"),
        16,
    ),
    "in the last validation where steps bound the run": (
        2,
        "null",
        ("trainer.max_epochs=-1", "trainer.max_steps=24"),
        24,
    ),
    "after the last epoch": (3, "end", SHORT, 24),
    "with several objectives": (1, 3, ("model=toy_gan", *SHORT), None),
    "with several objectives in a group": (1, 3, ("model=toy_gan", *ACCUMULATED, *SHORT), None),
    "with loading processes": (1, 3, ("+data.workers=2", *SHORT), 12),
}


QUICK = (
    (signal.SIGTERM, "with several objectives in a group"),
    (signal.SIGINT, "in a validation where steps bound the run"),
    (signal.SIGTERM, "with loading processes"),
)


def interrupted() -> list[Any]:
    """Every place and signal, three of them in the quick tests."""
    return [
        pytest.param(
            number,
            place,
            id=f"{number.name} {place}",
            marks=() if (number, place) in QUICK else pytest.mark.faults,
        )
        for place in PLACES
        for number in (signal.SIGTERM, signal.SIGINT)
    ]


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    "writing",
    [
        pytest.param(False, id="in a step", marks=pytest.mark.faults),
        pytest.param(True, id="while a checkpoint is written"),
    ],
)
def test_a_second_interrupt_ends_a_run_at_once_and_leaves_nothing_half_written(
    writing: bool, run_toy: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run_toy("whole", *SHORT)
    run = project / "outputs" / "stopped"
    times = 1 if writing else 2
    at = f"number: 2, epoch: 1, batch: 3, times: {times}"
    save, saved = torch.save, []

    def interrupted(contents: dict[str, Any], file: Any) -> None:
        saved.append(contents["global_step"])
        if writing and saved[-1] > 8:
            file.write(b"half")
            signal.raise_signal(signal.SIGINT)
        save(contents, file)

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(SystemExit) as stopped:
        run_toy("stopped", *SHORT, f"+callbacks.sent={{_target_: toy_plugin.Signal, {at}}}")
    monkeypatch.setattr(torch, "save", save)
    assert stopped.value.code == 130
    assert f"SIGINT; go on with: simulacra train resume={run}" in str(stopped.value)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert not list(run.rglob("*.part"))
    assert max(saved) == (12 if writing else 8)  # of 8 steps an epoch
    assert checkpoint.read(run / "checkpoints" / "last.ckpt")["global_step"] == 8
    spare(run)
    resume(run)
    assert_equal(states(whole), states(run))
    assert rows(whole) == rows(run)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("number", "place"), interrupted())
def test_an_interrupted_run_goes_on_bit_for_bit(
    number: signal.Signals, place: str, run_toy: Run, project: Path
) -> None:
    epoch, batch, overrides, steps = PLACES[place]
    whole, _ = run_toy("whole", *overrides)
    at = f"number: {int(number)}, epoch: {epoch}, batch: {batch}"
    sent = f"+callbacks.sent={{_target_: toy_plugin.Signal, {at}}}"
    with pytest.raises(SystemExit) as stopped:
        run_toy("stopped", *overrides, sent)
    run = project / "outputs" / "stopped"
    assert stopped.value.code == 128 + number
    assert f"{number.name}; go on with: simulacra train resume={run}" in str(stopped.value)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    contents = checkpoint.read(run / "checkpoints" / "last.ckpt")
    if steps is not None:
        assert contents["global_step"] == steps  # the group in which the signal came is done
    spare(run)
    resume(run)
    assert_equal(states(whole), states(run))
    assert rows(whole) == rows(run)


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


def test_a_state_of_another_training_is_one_sentence(run_toy: Run) -> None:
    run, _ = run_toy("odd", "trainer.max_epochs=1", *SHORT)
    last = run / "checkpoints" / "last.ckpt"
    contents = checkpoint.read(last)
    for change in ({"optimizer_states": [{}]}, {"lr_schedulers": [{}]}, {"averaging_state": {}}):
        torch.save({**contents, **change}, last)
        with pytest.raises(UserError, match=r"^\S+last\.ckpt holds another state than [^\n]+$"):
            resume(run)
