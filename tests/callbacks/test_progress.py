"""What is said while training goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simulacra.callbacks.judge import followed
from simulacra.callbacks.progress import ProgressBar
from simulacra.tracking.stages import duration, stage

Run = Callable[..., tuple[Path, dict[str, float]]]


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(s) for s in (0.04, 59.9, 60, 245.4, 3599.6, 7620)] == [
        "0.0 s",
        "59.9 s",
        "1 min 00 s",
        "4 min 05 s",
        "1 h 00 min",
        "2 h 07 min",
    ]


def test_a_stage_is_named_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        with stage("training", "weights trained") as more:
            more.append("(3 epochs)")
        with pytest.raises(ValueError, match="no"), stage("test", "nothing"):
            raise ValueError("no")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("training    weights trained in 0.")
    assert caplog.messages[0].endswith(" s (3 epochs)")


@pytest.mark.parametrize(
    ("figure", "chart"),
    [
        ("val/w1_mean", True),
        ("val/chi2", True),
        ("val/chi2/floor", True),
        ("val/boosted_auc_error", True),
        ("val/w1/e_tot", False),
        ("val/separation/layer/3", False),
    ],
)
def test_figures_of_all_observables_are_followed(figure: str, chart: bool) -> None:
    assert followed(figure) is chart


class Module:
    """The part of a module that the bar asks."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def objectives(self) -> dict[str, None]:
        return dict.fromkeys(self.names)


class Trainer:
    """The part of a trainer that the bar asks."""

    max_epochs = 12
    state = SimpleNamespace(fn="validate")
    current_epoch = 3
    sanity_checking = False
    is_global_zero = True

    def __init__(self, **figures: float) -> None:
        self.callback_metrics = {key.replace("_in_", "/"): v for key, v in figures.items()}


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> ProgressBar:
    monkeypatch.setattr("simulacra.callbacks.progress.Module", Module)
    return ProgressBar()


def test_the_bar_shows_losses_by_name_and_the_last_judgement(bar: ProgressBar) -> None:
    figures: dict[str, Any] = {"train_in_loss": 1.5, "val_in_w1_mean": 0.25, "other": 1.0}
    assert bar.get_metrics(Trainer(**figures), Module("likelihood")) == {"loss": 1.5, "W1": 0.25}
    figures = {"train_in_critic_in_loss": 1.0, "train_in_generator_in_loss": 2.0}
    assert bar.get_metrics(Trainer(**figures), Module("critic", "generator", "late")) == {
        "critic": 1.0,
        "generator": 2.0,
    }


def test_epochs_count_from_one(bar: ProgressBar) -> None:
    bar._trainer = trainer = Trainer()
    assert bar._get_train_description(0).rstrip() == "Epoch 1/12"
    trainer.max_epochs = -1
    assert bar._get_train_description(4).rstrip() == "Epoch 5"


def test_every_validation_is_a_line(bar: ProgressBar, caplog: pytest.LogCaptureFixture) -> None:
    figures = {"train_in_loss": 1.23456, "val_in_loss": 2.0, "val_in_boosted_auc": 0.75}
    with caplog.at_level(logging.INFO):
        bar.on_validation_end(Trainer(**figures), Module("likelihood"))
    assert caplog.messages == ["epoch 4/12: loss 1.235, val loss 2, AUC 0.75"]
