"""What a report says of a run: numbers of parameters, times, and the course of the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from simulacra.evaluation.course import course, read
from simulacra.evaluation.facts import count, duration, hardware


def test_a_shared_parameter_counts_once() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2, bias=False)
    second.weight = first.weight
    assert count([*first.parameters(), *second.parameters()]) == 8


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7.25, "7.2 s"), (155.4, "2 min 35 s"), (3599.7, "1 h 0 min"), (7380.0, "2 h 3 min")],
)
def test_times_are_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_hardware_says_how_many_processes_there_are() -> None:
    assert "thread" in hardware(torch.device("cpu"))
    assert hardware(torch.device("cpu"), 2).endswith(", 2 processes")


def test_the_course_has_losses_and_judgements_where_they_were_logged(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(
        "step,train/critic/loss,val/loss,val/w1_mean,train/grad_norm\n"
        "9,2.5,,,1.0\n19,nan,3.0,0.5,\n29,1.5,2.0,0.25,\n"
    )
    lines = read(tmp_path / "metrics.csv")
    steps, values = lines["train/critic/loss"]
    assert (steps.tolist(), values.tolist()) == ([9.0, 29.0], [2.5, 1.5])
    (figure,) = course(tmp_path).values()
    loss, judged = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train/critic/loss", "val/loss"]
    assert judged.get_ylabel() == "mean W1, validation"
    assert judged.lines[0].get_xydata().tolist() == [[19.0, 0.5], [29.0, 0.25]]


def test_a_run_that_logged_nothing_has_no_course(tmp_path: Path) -> None:
    assert course(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("step,perf/lr\n1,0.5\n")
    assert course(tmp_path) == {}
