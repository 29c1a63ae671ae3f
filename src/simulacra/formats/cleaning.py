"""What reading changes in the raw output of somebody else's generator, and the account of it.

Public evaluations take the output of a generator as it is and cut it: what lies below the threshold, negative
values among it, is zero, charges end where the converter ends, a mask is one or zero. A reader that is given
a :class:`Cleaning` does the same and counts it. Without leave to clean, only what is rounding is changed, a
negative value of at most :data:`ROUNDING` of the evaluation's cut; anything else stays refused. NaN and
infinity are always refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import Batch, FormatError, Spec

ROUNDING = 1e-4
"""Size of a negative value, in units of the evaluation's cut, up to which it is rounding and not refused."""
HINT = "evaluation.clean=true evaluates raw output as public evaluations do"


def check_finite(
    path: Path | str, key: str, values: NDArray[np.floating], start: int, noun: str = "event"
) -> None:
    """Refuse NaN and infinity; ``start`` is the number of the first event of ``values``."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # then all are, and it takes a fifth of the time
            return
    finite = np.isfinite(values).reshape(len(values), -1)
    if not finite.all():
        first = start + int(np.argmin(finite.all(axis=1)))
        raise FormatError(
            f"{path}: key {key!r} holds NaN or infinite values, first in {noun} {first}"
        )


class Cleaning:
    """Changes values of a file, or of events in memory, as public evaluations do, and counts what it changed.

    Args:
        spec: The data set.
        allowed: Whether all that public evaluations cut may be cut, or rounding alone.
    """

    def __init__(self, spec: Spec, allowed: bool) -> None:
        self.spec, self.allowed = spec, allowed
        self.limit = ROUNDING * spec.cut
        self.counting = True
        self.changed: Counter[str] = Counter()
        self.events: set[tuple[Path, int]] = set()
        self.lowest = 0.0
        self.energy = 0.0

    def finite(
        self, path: Path, key: str, values: NDArray[np.float32], start: int
    ) -> NDArray[np.float32]:
        """Values ``(n, ...)`` of the events from ``start`` on.

        Raises:
            FormatError: If some are not finite; none of them is ever changed for an evaluation.
        """
        check_finite(path, key, values, start)
        return values

    def negative(
        self,
        path: Path,
        key: str,
        values: NDArray[np.floating],
        start: int,
        unit: str = "",
    ) -> NDArray[np.floating]:
        """Values ``(n, ...)`` of the events from ``start`` on, those below 0 set to 0.

        Raises:
            FormatError: If they are not rounding alone and nothing else may be cut.
        """
        if not values.size or values.min() >= 0:
            return values
        wrong, low = values < 0, float(values.min())
        self._ask(
            low >= -self.limit,
            f"{path}: key {key!r} holds negative values (down to {low:.6g}, first in event "
            f"{start + first(wrong)}), expected {unit or 'numbers'} at or above 0",
        )
        self.lowest = min(self.lowest, low)
        self.energy -= float(values[wrong].sum(dtype=np.float64)) if self.counting else 0.0
        return self._set(path, "negative values set to 0", wrong, values, 0.0, start)

    def ceiling(
        self,
        path: Path,
        key: str,
        values: NDArray[Any],
        high: float,
        events: int | NDArray[np.integer],
    ) -> NDArray[Any]:
        """Values ``(n, ...)`` of the events from ``events`` on, or ``(n,)``, each of the event ``events``
        ``(n,)``; those above ``high`` set to ``high``.

        Raises:
            FormatError: If there are some and nothing may be cut.
        """
        wrong = values > high
        if not wrong.any():
            return values
        self._ask(False, f"{path}: key {key!r} holds {values.max():.6g}, expected at most {high:g}")
        return self._set(path, f"values above {high:g} set to it", wrong, values, high, events)

    def mask(self, path: Path, values: NDArray[np.floating], start: int) -> NDArray[np.floating]:
        """A mask ``(n, N)`` of the events from ``start`` on as zeros and ones: one from a half on.

        Raises:
            FormatError: If it holds other numbers and nothing may be cut.
        """
        wrong = (values != 0) & (values != 1)
        if not wrong.any():
            return values
        found = f"{path}: the mask of particles holds {values[wrong][0]:.6g}, expected 0 or 1"
        self._ask(False, found)
        return self._set(path, "entries of the mask rounded", wrong, values, values >= 0.5, start)

    def padding(
        self, path: Path, values: NDArray[np.floating], mask: NDArray[Any], start: int
    ) -> NDArray[np.floating]:
        """Points ``(n, N, F)`` of the events from ``start`` on, 0 where the mask ``(n, N)`` is 0.

        Raises:
            FormatError: If they are not, and nothing may be cut.
        """
        wrong = (mask == 0) & (values != 0).any(-1)
        if not wrong.any():
            return values
        self._ask(
            False,
            f"{path}: particles outside the mask must be exactly 0, {int(wrong.sum())} are not",
        )
        changed = self._set(path, "points outside the mask removed", wrong, wrong, False, start)
        return np.where((wrong & ~changed)[..., None], 0, values)

    def batch(self, name: str, batch: Batch) -> Batch:
        """Events in memory, cut as a reader cuts those of a file.

        What is no batch of the data set, or not finite, is left to :meth:`Spec.validate`.

        Args:
            name: What messages call them.
            batch: The events, on the CPU.

        Raises:
            FormatError: If more is to be changed than may be.
        """
        spec, path = self.spec, Path(name)
        if tuple(batch.x.shape[1:]) != spec.shape or not bool(batch.x.isfinite().all()):
            return batch
        if spec.kind == "cloud" and batch.mask is not None:
            return self._cloud(path, batch, batch.mask)
        if spec.kind not in ("grid", "layers", "image"):
            return batch
        x = self.negative(path, "x", batch.x.detach().numpy(), 0, spec.unit)
        if spec.kind == "image" and spec.features and spec.features[0].high is not None:
            x = self.ceiling(path, "x", x, spec.features[0].high, 0)
        return replace(batch, x=torch.from_numpy(x))

    def _cloud(self, path: Path, batch: Batch, mask: Tensor) -> Batch:
        """Clouds: of a cell without energy nothing is left, a particle without momentum stays one."""
        if mask.shape != batch.x.shape[:2] or not bool(mask.isfinite().all()):
            return batch
        real = self.mask(path, mask.numpy().astype(np.float32), 0) > 0
        x = self.padding(path, batch.x.detach().numpy(), real, 0)
        share = self.spec.roles.get("share")
        column = -1 if share is None else self.spec.features.index(share)
        values = x[..., column]
        x = x.copy()
        x[..., column] = self.negative(path, "x", values, 0, self.spec.unit)
        if share is None:
            real = real & (values >= 0)
            x = np.where(real[..., None], x, 0)
        return replace(batch, x=torch.from_numpy(x), mask=torch.from_numpy(real))

    def text(self, events: int) -> str | None:
        """One sentence on what was changed in a file of ``events`` events, or None where nothing was."""
        if not self.changed:
            return None
        parts = ", ".join(f"{number:,} {what}" for what, number in sorted(self.changed.items()))
        low = f" (down to {self.lowest:.6g})" if self.lowest < 0 else ""
        return f"{parts}{low}, in {len(self.events):,} of {events:,} events"

    def _ask(self, rounding: bool, problem: str) -> None:
        if not (rounding or self.allowed):
            raise FormatError(f"{problem}; {HINT}")

    def _set(
        self,
        path: Path,
        what: str,
        wrong: NDArray[np.bool_],
        values: NDArray[Any],
        to: float | NDArray[np.bool_],
        start: int | NDArray[np.integer],
    ) -> NDArray[Any]:
        if self.counting:
            self.changed[what] += int(wrong.sum())
            self.events.update((path, event) for event in numbers(wrong, start))
        return np.where(wrong, np.asarray(to, values.dtype), values)


def numbers(wrong: NDArray[np.bool_], start: int | NDArray[np.integer]) -> list[int]:
    """Numbers of the events ``(n, ...)`` in which something is wrong.

    Args:
        wrong: What is.
        start: Number of the first event, or those of all ``(n,)``.
    """
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
    found = rows + start if isinstance(start, int) else start[rows]
    return [int(event) for event in found]


def first(wrong: NDArray[np.bool_]) -> int:
    """Position of the first event ``(n, ...)`` in which something is wrong."""
    return int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))
