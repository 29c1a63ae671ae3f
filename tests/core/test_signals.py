"""A request to stop is known whatever a library makes of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from simulacra.core.signals import Interrupted, Paused, behind
from simulacra.running.train import fit


def disguised() -> ValueError:
    """What numpy makes of an exception that comes up while it calls back into Python."""
    try:
        try:
            raise Paused(signal.SIGINT)
        except Paused as stop:
            raise ValueError("'<B' is not a valid PEP 3118 buffer format string") from stop
    except ValueError as error:
        return error


def test_a_stop_is_found_behind_what_a_library_made_of_it() -> None:
    assert isinstance(behind(disguised()), Paused)
    assert behind(ValueError("of its own")) is None
    assert behind(None) is None


class Trainer:
    """Is stopped while it fits."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def fit(self, *arguments: Any, **settings: Any) -> None:
        raise disguised()


def test_a_training_that_is_stopped_so_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped by SIGINT") as stopped:
        fit(Trainer(), None, None, None, tmp_path)  # type: ignore[arg-type]
    assert stopped.value.code == 128 + signal.SIGINT
