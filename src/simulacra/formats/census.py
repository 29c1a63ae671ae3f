"""Which events of a file a reader refuses: counted, so that all of a file can be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulacra.core import Spec
from simulacra.formats.cleaning import Cleaning, numbers

SHOWN = 5
"""Event numbers that are kept of each kind."""
NOT_FINITE = "NaN or infinite values"


class Tally:
    """A number of events, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, events: Iterable[int]) -> None:
        """Count further events, by their numbers in rising order."""
        for event in events:
            self.count += 1
            if len(self.first) < SHOWN:
                self.first.append(event)

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.first))
        return f"{self.count:,} (number {numbers}{', ...' if self.count > len(self.first) else ''})"


class Census(Cleaning):
    """Lets all events through and counts those that a reader refuses; :meth:`refused` says which they are.

    Args:
        spec: The data set.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, allowed=True)
        self.tallies: dict[str, Tally] = {}
        self._chunk: dict[str, set[int]] = {}

    def finite(
        self, path: Path, key: str, values: NDArray[np.float32], start: int
    ) -> NDArray[np.float32]:
        """Values ``(n, ...)``, 0 in the place of those that are not finite, whose events are refused."""
        wrong = ~np.isfinite(values)
        if not wrong.any():
            return values
        return self._set(path, NOT_FINITE, wrong, values, 0.0, start)

    def refused(self, start: int, n: int) -> NDArray[np.bool_]:
        """Which of the ``n`` events from ``start`` on, that were just read, are refused ``(n,)``."""
        found = np.zeros(n, dtype=bool)
        for kind, events in self._chunk.items():
            found[[event - start for event in events]] = True
            if self.counting:
                self.tallies.setdefault(kind, Tally()).add(sorted(events))
        self._chunk = {}
        return found

    def _set(
        self,
        path: Path,
        what: str,
        wrong: NDArray[np.bool_],
        values: NDArray[Any],
        to: float | NDArray[np.bool_],
        start: int | NDArray[np.integer],
    ) -> NDArray[Any]:
        self._chunk.setdefault(what.partition(" set to ")[0], set()).update(numbers(wrong, start))
        return super()._set(path, what, wrong, values, to, start)
