"""What does not count of a file's events: values below the evaluation's cut, and what reading changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulacra.core import Batch, Spec
from simulacra.core.plausible import visible
from simulacra.formats.cleaning import Cleaning

_BLOCK = 2**17  # cells that are looked at together


class Cut:
    """Counts over the batches of one file.

    Values above 0 and below the cut stay what they are: observables count them as zero, as public evaluations
    do.

    Args:
        spec: The data set.
        clean: Whether all that public evaluations cut may be changed when it is read, or rounding alone.
    """

    def __init__(self, spec: Spec, clean: bool) -> None:
        self.spec, self.cleaning = spec, Cleaning(spec, clean)
        self.cells = spec.kind in ("grid", "layers") and spec.cut > 0
        self.n = self.below = 0
        self.events: set[int] = set()
        self.energy = self.total = 0.0

    def add(self, batch: Batch) -> None:
        """Count further events."""
        if self.cells:
            flat = batch.x.flatten(1).cpu().numpy()
            step = max(1, _BLOCK // flat.shape[1])
            for start in range(0, len(flat), step):
                self._count(flat[start : start + step], self.n + start)
        if self.spec.unit:
            self.total += float(visible(self.spec, batch).sum())
        self.n += len(batch)

    def _count(self, cells: NDArray[np.float32], start: int) -> None:
        """Count the cells ``(n, V)`` of the events from ``start`` on, few enough to stay in the cache."""
        below = cells < self.spec.cut
        below &= cells > 0
        places = np.flatnonzero(below)
        self.below += len(places)
        self.energy += float(cells.reshape(-1)[places].sum(dtype=np.float64))
        self.events.update((np.unique(places // cells.shape[1]) + start).tolist())

    @property
    def changed(self) -> bool:
        """Whether reading changed something."""
        return bool(self.cleaning.changed)

    def text(self) -> str | None:
        """One sentence for a line and a note, or None where all counts."""
        parts = []
        if self.below:
            share = self.energy / self.total if self.total else 0.0
            parts.append(
                f"{self.below:,} values below the cut of {self.spec.cut:.6g} {self.spec.unit} count as zero "
                f"({share:.3g} of the energy, in {len(self.events):,} of {self.n:,} events)"
            )
        changed = self.cleaning.text(self.n)
        if changed is not None:
            parts.append(changed)
        return f"as in public evaluations, {'; '.join(parts)}" if parts else None

    def figures(self) -> dict[str, float]:
        """Entries of ``metrics.json``: how many values and events, and what share of the energy."""
        if not self.below and not self.changed:
            return {}
        events = self.events | {number for _, number in self.cleaning.events}
        found = {
            "test/cut/values": float(self.below + sum(self.cleaning.changed.values())),
            "test/cut/events": float(len(events)),
        }
        if self.total > 0:
            found["test/cut/energy"] = (self.energy + self.cleaning.energy) / self.total
        return found
