"""Events of a file as an evaluation wants them: in memory where they fit, else read when asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simulacra.core import Batch, Spec, UserError
from simulacra.formats.base import Format
from simulacra.metrics.events import Events, chunks, conditions

IN_MEMORY = 2**28
"""Bytes of dense float32 events above which a file is read in chunks, again for every pass."""
WARN = 5.0
"""Standard deviations from which a difference of conditions is worth a warning."""


@dataclass(frozen=True)
class FileEvents:
    """The first events of a file.

    Args:
        form: Its format.
        path: The file.
        n: Number of events.
    """

    form: Format
    path: str
    n: int

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: range, /) -> Batch:
        batch = self.form.read(self.path, index.start, index.stop)
        return batch if index.step == 1 else batch[range(0, len(batch), index.step)]


def open_events(form: Format, path: str, most: int | None) -> Events:
    """The first ``most`` events of a file (None: all), every value of them checked.

    Raises:
        UserError: If there are none.
        FormatError: If the file is not what its format promises.
    """
    info = form.header(path)
    n = info.n if most is None else min(most, info.n)
    if not n:
        raise UserError(f"{path} holds no events")
    events = FileEvents(form, path, n)
    if 4 * n * form.spec.n_voxels <= IN_MEMORY:
        batch = events[range(n)]
        form.spec.validate(batch)
        return batch
    for batch in chunks(events, max(1, IN_MEMORY // (16 * form.spec.n_voxels))):
        form.spec.validate(batch)
    return events


def different_conditions(spec: Spec, reference: Events, generated: Events) -> dict[str, float]:
    """Significance [standard deviations] by which each condition is distributed differently in two samples:
    Kolmogorov and Smirnov's test, for classes the chi-squared test of their counts.
    """
    size = max(1, IN_MEMORY // (16 * spec.n_voxels))
    asked = [conditions(events, size).values for events in (reference, generated)]
    found = {}
    for field in spec.conditions:
        if all(field.name in values for values in asked) and field.dim == 1:
            pair = [values[field.name][:, 0].cpu().numpy() for values in asked]
            found[field.name] = (_classes if field.classes else _smooth)(pair[0], pair[1])
    return found


def _smooth(reference: NDArray[np.generic], generated: NDArray[np.generic]) -> float:
    return _sigmas(float(stats.ks_2samp(reference, generated).pvalue))


def _classes(reference: NDArray[np.generic], generated: NDArray[np.generic]) -> float:
    size = int(max(reference.max(), generated.max())) + 1
    table = np.stack(
        [np.bincount(part.astype(int), minlength=size) for part in (reference, generated)]
    )
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2:
        return 0.0
    return _sigmas(float(stats.chi2_contingency(table).pvalue))


def _sigmas(p: float) -> float:
    """Two-sided standard deviations of a p-value, at most 38 (where it underflows)."""
    return float(min(38.0, max(0.0, stats.norm.isf(p / 2))))
