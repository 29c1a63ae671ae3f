r"""How the cost of a batch grows with the number of its events.

Time goes with a power of the number, :math:`t \propto n^p`: near 1 where every event costs the same, below
where part of the cost is that of the call. Memory is a constant and so much for each event.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulacra.evaluation.timing import GIB, Trial

MIB = 2**20
SEEN = 8 * MIB
"""Bytes below which more memory is none: allocators keep some in reserve."""


@dataclass(frozen=True)
class Growth:
    """What two batches tell of all others.

    Args:
        between: Their sizes.
        power: Of the number of events, with which the time of a batch grows.
        mib: Memory of each further event [MiB], 0 where none is seen.
        gib: A memory [GiB].
        largest: Events at once that fit into it, None where memory was not seen to grow.
    """

    between: tuple[int, int]
    power: float
    mib: float
    gib: float
    largest: int | None

    def __str__(self) -> str:
        """One sentence."""
        small, large = self.between
        text = f"from {small:,} to {large:,} events the time of a batch grows as n^{self.power:.2f}"
        if self.largest is None:
            return f"{text}, and its memory does not"
        return (
            f"{text}, its memory by {self.mib:.3g} MiB each: {self.gib:g} GiB hold {self.largest:,}"
        )


def growth(trials: Sequence[Trial], gib: float) -> Growth | None:
    """From the largest batch and the largest of at most a quarter of it, None where there are no such two.

    Args:
        trials: Of rising size, the first one without events.
        gib: A memory [GiB].
    """
    run = [trial for trial in trials if trial.size and trial.seconds > 0]
    few = [trial for trial in run if run and 4 * trial.size <= run[-1].size]
    if not few:
        return None
    small, large = few[-1], run[-1]
    more = large.size - small.size
    power = math.log(large.seconds / small.seconds) / math.log(large.size / small.size)
    grown = large.peak - small.peak
    each = grown / more if grown > SEEN else 0.0
    room = gib * GIB - large.peak
    largest = max(0, large.size + math.floor(room / each)) if each > 0 else None
    return Growth((small.size, large.size), power, each / MIB, gib, largest)
