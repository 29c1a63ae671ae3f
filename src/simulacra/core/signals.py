"""Ctrl-C and SIGTERM: an exception where one may stop, a note where one may not.

Python answers a signal between any two of its instructions. An exception there unwinds what can be unwound;
in the middle of a step of training or inside a library that calls back into Python it would leave half a
state behind. :class:`Waiting` notes signals in such a stretch, :func:`held` lets them through after it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""What asks a command to stop: Ctrl-C, and the batch system before it takes a machine away."""


class Interrupted(SystemExit):
    """A command was asked to stop by a signal; it exits with 128 + its number, as shells expect.

    Args:
        number: Number of the signal.
        advice: How to go on, for the user.
    """

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(128 + number)
        self.number, self.advice = number, advice

    def __str__(self) -> str:
        reason = f"stopped by {signal.Signals(self.number).name}"
        return f"{reason}; {self.advice}" if self.advice else reason


class Paused(Interrupted):
    """As its base, at a point of a training from which it goes on bit for bit."""


def behind(error: BaseException | None) -> Interrupted | None:
    """The stop itself, also where a library that calls back into Python has made another exception of it."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__cause__ or error.__context__
    return error


class Pending:
    """The signal that was answered with an exception, in case a library has swallowed that."""

    number: int | None = None


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Answer a signal at once.

    Raises:
        Interrupted: Always.
    """
    Pending.number = number
    raise Interrupted(number)


def check() -> None:
    """Stop if a signal was answered whose exception has not arrived.

    Raises:
        Interrupted: If so.
    """
    if Pending.number is not None:
        raise Interrupted(Pending.number)


class Waiting:
    """Notes signals from :meth:`begin` to :meth:`end` instead of answering them.

    Args:
        answer: Called with a signal's number and the earlier one, if there was one, when it arrives.
    """

    def __init__(self, answer: Callable[[int, int | None], None] | None = None) -> None:
        self.number: int | None = None
        self._answer = answer
        self._before: dict[signal.Signals, Any] = {}

    def begin(self) -> None:
        """Take over; signals reach Python in the main thread alone, elsewhere nothing happens."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._note)

    def end(self) -> None:
        """Give back to who answered before."""
        for number, before in self._before.items():
            if before is not None:  # None: set by what is not Python, which Python cannot set again
                signal.signal(number, before)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        earlier, self.number = self.number, self.number or number
        if self._answer is not None:
            self._answer(number, earlier)


@contextmanager
def held() -> Iterator[None]:
    """Signals that arrive in the block are answered after it."""
    waiting = Waiting()
    waiting.begin()
    try:
        yield
    finally:
        waiting.end()
        if waiting.number is not None:
            signal.raise_signal(waiting.number)
