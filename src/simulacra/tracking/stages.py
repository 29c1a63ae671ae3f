"""Stages of a command by name, with the time that each has taken."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pytorch_lightning.utilities import rank_zero_only

log = logging.getLogger(__name__)

WIDTH = 12
"""Characters in which names stand."""


@contextmanager
def stage(name: str, text: str) -> Iterator[list[str]]:
    """Say at the end of a block what it was and how long it has taken; nothing where it fails.

    Args:
        name: The stage, in one word.
        text: What is done.

    Yields:
        A list for what is found on the way, which is said behind ``text``.
    """
    start = time.monotonic()
    more: list[str] = []
    yield more
    say(name, " ".join([text, f"in {duration(time.monotonic() - start)}", *more]))


@rank_zero_only
def say(name: str, text: str) -> None:
    """A line under a name, once for all processes."""
    log.info("%s %s", f"{name:<{WIDTH - 1}}", text)


def duration(seconds: float) -> str:
    """A time as people say it: ``3.2 s``, ``4 min 05 s``, ``2 h 07 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
