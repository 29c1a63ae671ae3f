"""Runs that go on in another place, for longer, or at another rate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch

from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.training import checkpoint

Run = Callable[..., tuple[Path, dict[str, float]]]
PLAIN = ("callbacks.physics=null", "callbacks.classifier=null")
SCHEDULES = {
    "one_cycle": "max_lr: 0.01",
    "warmup_cosine": "warmup: 0.3",
    "milestones": "at: [0.4, 0.8]",
    "triangles": "low: 0.001, high: 0.01, rise: 5",
}


def go_on(run: Path, *changes: str) -> dict:
    with pytest.MonkeyPatch.context() as patch:  # as the command line gives them
        patch.setattr("simulacra.cli.train.changes", lambda: list(changes))
        train(compose("train", [f"resume={run}", "allow=[toy_plugin]", f"paths.run={run}"]))
    return checkpoint.read(run / "checkpoints" / "last.ckpt")


def test_a_copied_run_keeps_its_best_score_and_its_best_weights(run_toy: Run) -> None:
    monitored = (
        "callbacks.physics=null",
        "trainer.max_epochs=3",
        "callbacks.best.monitor=val/loss",
    )
    run, _ = run_toy("original", *monitored)
    copy = run.parent / "elsewhere" / "copy"
    shutil.copytree(run, copy)
    best = checkpoint.read(copy / "checkpoints" / "best.ckpt")
    shutil.rmtree(run)
    contents = go_on(copy, "trainer.max_epochs=5", "model.optimizer.lr=1")
    kept = checkpoint.read(copy / "checkpoints" / "best.ckpt")
    assert kept["global_step"] == best["global_step"]
    for name, value in best["state_dict"].items():
        assert torch.equal(value, kept["state_dict"][name])
    assert str(run) not in str(contents["callbacks"])
    assert contents["epoch"] == 4
    assert not run.exists()


@pytest.mark.parametrize(
    ("schedule", "model"),
    [
        ("one_cycle", "toy_gan"),
        *(
            pytest.param(*pair, marks=pytest.mark.faults)
            for pair in product(SCHEDULES, ("toy_flow", "toy_gan"))
            if pair != ("one_cycle", "toy_gan")
        ),
    ],
)
def test_more_epochs_follow_the_schedule_of_a_longer_run(
    schedule: str, model: str, run_toy: Run
) -> None:
    target = (
        f"{{_target_: simulacra.training.optim.{schedule}, _partial_: true, {SCHEDULES[schedule]}}}"
    )
    chosen = (f"model={model}", "~model.scheduler", f"+model.scheduler={target}", *PLAIN)
    run, _ = run_toy("short", *chosen, "trainer.max_epochs=2")
    contents = go_on(run, "trainer.max_epochs=4")
    longer, _ = run_toy("long", *chosen, "trainer.max_epochs=4")
    expected = checkpoint.read(longer / "checkpoints" / "last.ckpt")
    assert contents["global_step"] == expected["global_step"]
    for found, wanted in zip(contents["lr_schedulers"], expected["lr_schedulers"], strict=True):
        assert found["last_epoch"] == wanted["last_epoch"]
        assert found["_last_lr"] == pytest.approx(wanted["_last_lr"])
    groups = [c["optimizer_states"][0]["param_groups"][0] for c in (contents, expected)]
    assert groups[0]["lr"] == pytest.approx(groups[1]["lr"])
    assert groups[0]["betas"] == pytest.approx(groups[1]["betas"])


def test_more_steps_and_another_rate_are_followed_too(run_toy: Run) -> None:
    run, _ = run_toy(
        "short", *PLAIN, "trainer.max_epochs=-1", "trainer.max_steps=12", "model.scheduler=null"
    )
    contents = go_on(run, "trainer.max_steps=20", "model.optimizer.lr=0.02")
    assert contents["global_step"] == 20
    assert contents["optimizer_states"][0]["param_groups"][0]["lr"] == 0.02


def test_fewer_epochs_than_are_done_are_refused_in_one_sentence(run_toy: Run) -> None:
    run, _ = run_toy("short", *PLAIN, "trainer.max_epochs=3")
    with pytest.raises(UserError, match=r"max_epochs=1"):
        go_on(run, "trainer.max_epochs=1")
