"""Processor time of calls that are made in turns, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import process_time


def in_turns(
    one: Callable[[], object], other: Callable[[], object], repeats: int = 7
) -> tuple[float, float, float]:
    """Median seconds of both, and of the ratio of neighbouring calls, the second over the first."""
    one(), other()
    found = []
    for number in range(repeats):
        seconds = {}
        for call in (one, other) if number % 2 else (other, one):
            start = process_time()
            call()
            seconds[call] = process_time() - start
        found.append((seconds[one], seconds[other]))
    first, second = (statistics.median(part) for part in zip(*found, strict=True))
    return first, second, statistics.median(b / a for a, b in found)
