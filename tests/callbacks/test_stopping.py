"""Trainings that end early: where they improve no more, and where other jobs of a sweep are ahead."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from simulacra.callbacks.early_stopping import EarlyStopping
from simulacra.callbacks.pruning import MedianPruning
from simulacra.core import UserError
from simulacra.evaluation.config import compose, job_folder, register, vary
from simulacra.tracking.runs import job_number


def trainer(step: int = 0, **figures: float) -> Any:
    """What a callback sees of a trainer after a validation."""
    return SimpleNamespace(
        sanity_checking=False,
        should_stop=False,
        fast_dev_run=False,
        current_epoch=step,
        is_global_zero=True,
        world_size=1,
        state=SimpleNamespace(fn="fit"),
        callback_metrics={f"val/{key}": torch.tensor(value) for key, value in figures.items()},
        strategy=SimpleNamespace(
            broadcast=lambda value: value, reduce_boolean_decision=lambda value, all: value
        ),
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=step)),
    )


def stops(callback: Any, values: list[float]) -> int | None:
    """After how many validations a callback ends a training."""
    for number, value in enumerate(values, 1):
        now = trainer(10 * number, auc=value)
        callback.on_validation_end(now, None)
        if now.should_stop:
            return number
    return None


def early(patience: int = 2, mode: str = "min") -> EarlyStopping:
    return EarlyStopping(monitor="val/auc", mode=mode, patience=patience, min_delta=0.0)


def test_training_ends_after_as_many_validations_as_asked_for() -> None:
    assert stops(early(), [0.9, 0.8, 0.81, 0.82, 0.5]) == 4
    assert stops(early(), [0.9, 0.8, 0.81, 0.79, 0.8]) is None
    assert stops(early(mode="max"), [0.9, 0.8, 0.7]) == 3


def test_a_run_that_has_ended_early_does_not_go_on() -> None:
    done = early()
    assert stops(done, [0.5, 0.6, 0.7]) == 3
    resumed = early()
    resumed.load_state_dict(done.state_dict())
    now = trainer(auc=0.5)
    resumed.on_train_start(now, None)
    assert now.should_stop
    now = trainer(auc=0.5)
    early().on_train_start(now, None)
    assert not now.should_stop


def test_a_figure_that_nobody_measures_is_named() -> None:
    with pytest.raises(UserError, match=r"monitor=val/auc is measured by no validation: .*val/w1"):
        early().on_validation_end(trainer(w1=1.0), None)


def job(folder: Path, number: int, values: list[float], name: str = "_vit") -> None:
    """A job of a sweep with a figure at steps 10, 20, ..."""
    place = folder / f"{number}{name}"
    place.mkdir()
    with (place / "metrics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["step", "train/loss", "val/auc"])
        for at, value in enumerate(values, 1):
            rows.writerow([10 * at - 5, 1.0, ""])
            rows.writerow([10 * at, "", value])


def median(folder: Path, mode: str = "min", jobs: int = 3) -> MedianPruning:
    return MedianPruning(str(folder), "5_vit", "val/auc", mode, jobs, warmup=1)


def test_a_job_behind_the_median_of_the_earlier_ones_ends(tmp_path: Path) -> None:
    for number, values in enumerate([[0.9, 0.7, 0.6], [0.9, 0.8], [0.9, 0.75, 0.9]]):
        job(tmp_path, number, values)
    assert stops(median(tmp_path), [0.99, 0.76]) == 2  # the median there is 0.75
    assert stops(median(tmp_path), [0.99, 0.74]) is None
    assert stops(median(tmp_path), [0.74, 0.99]) is None  # what has been reached counts
    assert stops(median(tmp_path, "max"), [0.95, 0.1]) is None
    assert stops(median(tmp_path, "max"), [0.85, 0.1]) == 2


def test_later_jobs_and_those_that_have_not_come_as_far_do_not_count(tmp_path: Path) -> None:
    job(tmp_path, 0, [0.5, 0.5])
    job(tmp_path, 1, [0.5])
    job(tmp_path, 4, [0.5, 0.5])
    job(tmp_path, 6, [0.5, 0.5])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "metrics.csv").write_text("step,val/auc\n20,0.1\n")
    assert stops(median(tmp_path), [0.9, 0.9]) is None
    assert stops(median(tmp_path, jobs=2), [0.9, 0.9]) == 2
    with (tmp_path / "1_vit" / "metrics.csv").open("a") as file:
        file.write("20,,0.5\n25,,0.")  # a row that is just being written
    assert stops(median(tmp_path), [0.9, 0.9]) == 2


def test_a_resumed_job_goes_on_counting(tmp_path: Path) -> None:
    for number in range(3):
        job(tmp_path, number, [0.5, 0.5])
    first = median(tmp_path)
    first.on_validation_end(trainer(10, auc=0.9), None)
    again = median(tmp_path)
    again.load_state_dict(first.state_dict())
    now = trainer(20, auc=0.9)
    again.on_validation_end(now, None)
    assert now.should_stop
    third = median(tmp_path)
    third.load_state_dict(again.state_dict())
    now = trainer()
    third.on_train_start(now, None)
    assert now.should_stop


def test_folders_of_jobs_are_named_by_what_varies() -> None:
    register()
    vary(["-m", "model=vit,caloinn", "data.root=/scratch/x", "model.optim.optimizer.lr=1e-3,1e-4"])
    given = ["model=vit", "seed=1", "data.root=/scratch/x", "model.optim.optimizer.lr=0.00123456"]
    assert job_folder(3, given, None) == "3_vit_lr-0.001235"
    assert job_folder(12, given, {"seed": "0,1,2"}) == "12_vit_seed-1_lr-0.001235"
    vary(["init.checkpoint=a/b.ckpt,c/d.ckpt", "+x={a: 1},{b: 2}"])
    assert job_folder(0, ["init.checkpoint=a/b.ckpt", "+x={a: 1}"], {}) == "0_x-a-1"
    vary([])
    assert job_folder(0, ["model=vit"], None) == "0"
    assert len(job_folder(1, [f"experiment={'a' * 100}"], {"experiment": "a,b"})) == 60
    assert [job_number(name) for name in ("12_tiny", "3", "x", "3x")] == [12, 3, None, None]


@pytest.mark.parametrize("name", ["early_stopping", "[default,early_stopping]"])
def test_the_presets_compose_with_the_default_callbacks(name: str) -> None:
    found = compose("train", [f"callbacks={name}", "callbacks.best.monitor=val/w1_mean"]).callbacks
    assert set(found) == {*compose("train").callbacks, "early_stopping"}
    assert found.early_stopping.monitor == "val/w1_mean"


def test_a_single_run_is_compared_with_nothing(tmp_path: Path) -> None:
    for number in range(3):
        job(tmp_path, number, [0.1, 0.1])
    alone = MedianPruning(str(tmp_path), "00-40-47_ds1_vit", "val/auc", "min", 1, warmup=0)
    assert stops(alone, [0.9, 0.9]) is None


def test_a_search_prunes_by_default() -> None:
    found = compose("train", ["sweeps=optuna"])
    assert "pruning" in found.callbacks
    assert "pruning" not in compose("train", ["sweeps=optuna", "callbacks=default"]).callbacks
