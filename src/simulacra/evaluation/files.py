"""Events of a file as an evaluation wants them: in memory where they fit, else read when asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simulacra.core import Batch, Spec, UserError
from simulacra.core.plausible import Plausibility
from simulacra.evaluation.cut import Cut
from simulacra.evaluation.shards import pieces
from simulacra.formats.base import Format
from simulacra.metrics.engine.events import Events, Joined, Window
from simulacra.metrics.engine.score import Judged, judged
from simulacra.metrics.engine.weighted import Weight, probabilities, worth
from simulacra.physics.base import ObservableSet

IN_MEMORY = 2**28
"""Bytes of dense float32 events above which a file is read in chunks, again for every pass."""
WARN = 5.0
"""Standard deviations from which a difference of conditions is worth a warning."""
log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Opened:
    """Events of a file, and what there is to say of them.

    Args:
        path: The file.
        events: Its events.
        remarks: What is not plausible about them, one sentence per finding.
        cut: What does not count of them, or was changed.
    """

    path: str
    events: Events
    remarks: dict[str, str]
    cut: Cut

    def tell(self) -> None:
        """Say it, once."""
        text = self.cut.text()
        if text is not None:
            log.log(
                logging.WARNING if self.cut.changed else logging.INFO, "%s: %s", self.path, text
            )
        for remark in self.remarks.values():
            log.warning("%s: %s", self.path, remark)


def open_judged(
    form: Format, path: str, most: int | None, observables: ObservableSet, clean: bool = False
) -> tuple[Opened, Judged]:
    """The first ``most`` events of a file (None: all), every value of them checked, and what they are reduced
    to in the same pass; a name may stand for several files that are one sample, see
    :func:`~simulacra.evaluation.shards.pieces`.

    Negative values that are rounding are zero, and with ``clean`` all that public evaluations cut.

    Raises:
        UserError: If there are none.
        FormatError: If the file is not what its format promises.
    """
    cut = Cut(form.spec, clean)
    form = form.lenient(cut.cleaning)
    files = [FileEvents(form, str(file), form.header(file).n) for file in pieces(path)]
    whole: Events = files[0] if len(files) == 1 else Joined(files)
    n = len(whole) if most is None else min(most, len(whole))
    if not n:
        raise UserError(f"{path} holds no events")
    events: Events = Window(whole, 0, n)
    if 4 * n * form.spec.n_voxels <= IN_MEMORY:
        events = events[range(n)]
    return checked(path, events, cut, observables)


def checked(
    name: str, events: Events, cut: Cut, observables: ObservableSet
) -> tuple[Opened, Judged]:
    """Events whose every value is looked at before anything is made of it, and what they are reduced to.

    Args:
        name: What messages call them.
        events: The events, each of which is read once.
        cut: Counts what does not count of them.
        observables: What is made of them.

    Raises:
        UserError: If they are not what the data set promises.
    """
    look = Plausibility(cut.spec)

    def check(batch: Batch) -> None:
        cut.spec.validate(batch)
        look.add(batch)
        cut.add(batch)

    reduced = judged(events, observables, check)
    cut.cleaning.counting = False  # what is read again is not counted again
    found = Opened(name, events, look.remarks(), cut)
    found.tell()
    return found, reduced


def different_conditions(spec: Spec, reference: Judged, generated: Judged) -> dict[str, float]:
    """Significance [standard deviations] by which each condition is distributed differently in two weighted
    samples: Kolmogorov and Smirnov's test, for classes the chi-squared test of their counts.
    """
    asked = [item.sample.cond for item in (reference, generated)]
    weights = reference.weight, generated.weight
    found = {}
    for field in spec.conditions:
        if all(field.name in values for values in asked) and field.dim == 1:
            pair = [values[field.name][:, 0].cpu().numpy() for values in asked]
            found[field.name] = (_classes if field.classes else _smooth)(pair, weights)
    return found


def _smooth(pair: Sequence[NDArray[np.generic]], weights: Sequence[Weight]) -> float:
    if all(weight is None for weight in weights):
        return _sigmas(float(stats.ks_2samp(*pair).pvalue))
    at = np.sort(np.concatenate(pair))
    first, second = (_reached(x, w, at) for x, w in zip(pair, weights, strict=True))
    n, m = (worth(len(x), w) for x, w in zip(pair, weights, strict=True))
    largest = float(np.abs(first - second).max())
    return _sigmas(float(stats.kstwo.sf(largest, max(1, round(n * m / (n + m))))))


def _reached(
    values: NDArray[np.generic], weight: Weight, at: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Distribution function of weighted values at some points."""
    shares = probabilities(weight)
    order = values.argsort()
    steps = np.full(len(values), 1 / len(values)) if shares is None else shares[order]
    reached = np.concatenate([[0.0], steps.cumsum()])
    found: NDArray[np.float64] = reached[np.searchsorted(values[order], at, side="right")]
    return found


def _classes(pair: Sequence[NDArray[np.generic]], weights: Sequence[Weight]) -> float:
    size = int(max(part.max() for part in pair)) + 1
    table = np.stack([
        np.bincount(values.astype(int), probabilities(weight), minlength=size)
        * (1.0 if weight is None else worth(len(values), weight))
        for values, weight in zip(pair, weights, strict=True)
    ])  # fmt: skip
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2:
        return 0.0
    return _sigmas(float(stats.chi2_contingency(table).pvalue))


def _sigmas(p: float) -> float:
    """Two-sided standard deviations of a p-value, at most 38 (where it underflows)."""
    return float(min(38.0, max(0.0, stats.norm.isf(p / 2))))
