"""Runs side by side: groups of one data set, what cannot be compared, Pareto fronts.

A run is on the Pareto front of quality and time if no other of its group is at least as good in both and
better in one. Only like runs take part: not one that was judged at another level, with another number of
events or against other truth than most, nor one that was timed on other hardware, nor one whose AUC comes
from another version of the boosted judge; a run alone has no front. Quality is the
first of :data:`JUDGES` that most runs have (an AUC below 0.5 counts as 0.5), time the column of a device and
batch size that most of them have; statistical errors are not weighed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from simulacra.core.files import write_table
from simulacra.tracking.compare_runs import Figure, Run

LABELS = {
    "classifier/boosted/auc": "AUC boosted",
    "classifier/boosted_low/auc": "AUC boosted, low",
    "classifier/low/auc": "AUC low",
    "classifier/low_normed/auc": "AUC low-normed",
    "classifier/high/auc": "AUC high",
    "classifier/resnet/auc": "AUC ResNet",
    "log_posterior": "log-posterior",
    "w1_mean": "W1 mean",
    "fpd": "FPD",
    "kpd": "KPD",
    "w1m": "W1M",
    "w1p": "W1P",
    "w1efp": "W1EFP",
    "fpnd": "FPND",
    "nplm": "NPLM",
    "sliced/w1": "sliced W1",
    "sliced/ks": "sliced KS",
    "equivalent_n": "equivalent N",
    "equivalent_n/at_least": "equivalent N, at least",
    "equivalent_n/at_most": "equivalent N, at most",
    "cov": "COV",
    "mmd": "MMD",
    "sensor_occupancy": "occupancy per sensor",
    "sensor_charge": "charge per sensor",
    "sensor_correlation": "sensor correlation",
    "w1/pixel_charge": "W1 charge [ADU]",
    "fid/simulacra": "FID, own network",
    "kid/simulacra": "KID, own network",
    "prdc/precision": "precision",
    "prdc/recall": "recall",
    "prdc/density": "density",
    "prdc/coverage": "coverage",
}
"""Headline figures in their order; other AUCs follow."""
OTHER_TRUTH = "other truth"
OTHER_LEVEL, OTHER_EVENTS = "level {}", "{} events"
OTHER_HARDWARE = "timed on other hardware"
OF_JUDGE = " of the boosted judge"
OTHER_JUDGE = "version {}" + OF_JUDGE
BOOSTED = "classifier/boosted"
JUDGES = ("classifier/boosted/auc", "fpd", "classifier/high/auc", "w1_mean")
TEST_TIME = "time_per_event_ms"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}

T = TypeVar("T")
Time = tuple[str, int] | None
"""Device and batch size of a benchmark; None: the time that the test of a training took."""


@dataclass(frozen=True)
class Group:
    """Runs of one data set, or published rows of one.

    Args:
        data: The data set.
        runs: Its runs.
        flags: Why a run cannot be compared with most of the others, by position.
        judge: Key of the figure of the Pareto front, None where there is none.
        time: Its time.
        front: Whether each run is on the front.
    """

    data: str
    runs: tuple[Run, ...]
    flags: tuple[tuple[str, ...], ...]
    judge: str | None
    time: Time
    front: tuple[bool, ...]

    @property
    def published(self) -> bool:
        """Whether the rows come from a publication."""
        return self.runs[0].published

    @property
    def mark(self) -> str:
        """What is said of published rows, empty for those of runs."""
        return self.runs[0].mark

    @property
    def headlines(self) -> list[str]:
        """Headline figures that a run of the group has."""
        seen = {key: None for run in self.runs for key in run.figures}
        other = [key for key in seen if key.startswith("classifier/") and key.endswith("/auc")]
        return [key for key in dict.fromkeys([*LABELS, *sorted(other)]) if key in seen]

    @property
    def separations(self) -> list[str]:
        """Separation powers that a run of the group has, means over layers where there are layers."""
        seen = {key for run in self.runs for key in run.figures}
        return sorted(key for key in seen if key.startswith("separation/"))

    @property
    def times(self) -> list[Time]:
        """Columns of times, those of the test last."""
        tested: list[Time] = [None] if any(TEST_TIME in run.figures for run in self.runs) else []
        return [*sorted({key for run in self.runs for key in run.times}), *tested]

    @property
    def fronts(self) -> str:
        """What the front is made of, in words."""
        if self.judge is None or not any(self.front):
            return ""
        return f"{label(self.judge)} against {time_title(self.time)}"


def groups(runs: Sequence[Run]) -> list[Group]:
    """Runs by data set, published rows apart, in order of appearance."""
    parts: dict[tuple[str, bool], list[Run]] = {}
    for run in runs:
        parts.setdefault((run.data, run.published), []).append(run)
    return [_group(data, items) for (data, _), items in parts.items()]


def _group(data: str, runs: Sequence[Run]) -> Group:
    judge = most(JUDGES, lambda key: sum(key in run.figures for run in runs))
    times = sorted({key for run in runs for key in run.times}, key=lambda key: (key[0], -key[1]))
    time: Time = most(times, lambda key: sum(key in run.times for run in runs))
    differ = flags(runs)
    points = [
        None if judge is None or not ranked(why, judge, timed=True) else point(run, judge, time)
        for run, why in zip(runs, differ, strict=True)
    ]
    alone = sum(item is not None for item in points) < 2
    front = (False,) * len(runs) if alone else tuple(pareto(points))
    return Group(data, tuple(runs), differ, judge, time, front)


def most(choices: Sequence[T], count: Callable[[T], int]) -> T | None:
    """The first of those that most runs have, None where no run has any."""
    best = max(choices, key=count, default=None)
    return best if best is not None and count(best) else None


def time_of(run: Run, time: Time) -> Figure | None:
    """A time of a run [ms]."""
    return run.figures.get(TEST_TIME) if time is None else run.times.get(time)


def point(run: Run, judge: str, time: Time) -> tuple[float, float] | None:
    """Quality and time, both better when small; None where one is missing."""
    quality, spent = run.figures.get(judge), time_of(run, time)
    if quality is None or spent is None:
        return None
    value = max(quality.value, 0.5) if judge.endswith("/auc") else quality.value
    return value, spent.value


def pareto(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which points no other dominates."""
    known = [item for item in points if item is not None]
    return [
        item is not None
        and not any(a <= item[0] and b <= item[1] and (a, b) != item for a, b in known)
        for item in points
    ]


def flags(runs: Sequence[Run]) -> tuple[tuple[str, ...], ...]:
    """What tells each run from most of the others where it should not: level, events, truth, machine."""
    found: list[list[str]] = [[] for _ in runs]
    devices = sorted({device for run in runs for device in run.machines})
    checks: list[tuple[Callable[[Run], str], str]] = [
        (lambda run: run.level, OTHER_LEVEL),
        (lambda run: "" if run.events is None else f"{run.events:,}", OTHER_EVENTS),
        (lambda run: run.truth, OTHER_TRUTH),
        (judge_version, OTHER_JUDGE),
        *(
            (lambda run, device=device: run.machines.get(device, ""), OTHER_HARDWARE)
            for device in devices
        ),
    ]
    for value, text in checks:
        usual = Counter(value(run) for run in runs if value(run)).most_common(1)
        for run, mine in zip(runs, found, strict=True):
            if value(run) and value(run) != usual[0][0]:
                mine.append(text.format(value(run)))
    return tuple(tuple(dict.fromkeys(item)) for item in found)


def judge_version(run: Run) -> str:
    """Version of the boosted judge, 1 before it was written down; empty where it did not run."""
    if not any(key.startswith(BOOSTED) for key in run.figures):
        return ""
    version = run.figures.get(f"{BOOSTED}/version")
    return "1" if version is None else f"{version.value:g}"


def ranked(why: Sequence[str], key: str, timed: bool) -> bool:
    """Whether a figure of a run may be ranked with those of most others, by what tells the run from them.

    Args:
        why: Its flags.
        key: The figure.
        timed: Whether it is ranked together with a time.
    """
    allowed = {OTHER_HARDWARE} if not timed else set()
    strange = [item for item in why if item not in allowed]
    if not key.startswith(BOOSTED):
        strange = [item for item in strange if not item.endswith(OF_JUDGE)]
    return not strange


def label(key: str) -> str:
    """Head of a figure's column."""
    if key in LABELS:
        return LABELS[key]
    if key.startswith("classifier/"):
        return f"AUC {key.split('/')[1]}"
    return key.partition("/")[2].replace("_", " ") or key


def time_label(time: Time) -> str:
    """Head of a time's column."""
    if time is None:
        return "ms in test"
    device, size = time
    text = f"{size // 1000}k" if size >= 1000 and size % 1000 == 0 else str(size)
    return f"ms {DEVICES.get(device, device)} {text}"


def time_title(time: Time) -> str:
    """The same in words."""
    if time is None:
        return "time per event in the test of the training"
    return f"time per event on {DEVICES.get(time[0], time[0])} at batch size {time[1]:,}"


def write_csv(path: Path, found: Sequence[Group]) -> Path:
    """Every figure of every run, a row each, with errors and floors; all of it or nothing."""
    rows = [
        _csv_row(run, why, front, group)
        for group in found
        for run, why, front in zip(group.runs, group.flags, group.front, strict=True)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_table(path, names, rows)
    return path


def _csv_row(run: Run, why: Sequence[str], front: bool, group: Group) -> dict[str, object]:
    row: dict[str, object] = {
        "run": run.name,
        "source": run.source,
        "published": run.published,
        "data": run.data,
        "model": run.model,
        "size": run.size,
        "overrides": " ".join(run.overrides),
        "level": run.level,
        "events": run.events,
        "differs": "; ".join(why),
        "pareto_front": front,
    }
    for key in [*group.headlines, *group.separations, TEST_TIME]:
        if figure := run.figures.get(key):
            row |= _csv_cells(key, figure)
    for (device, size), figure in sorted(run.times.items()):
        row |= _csv_cells(f"ms_{device}_{size}", figure)
    return row | {f"parameters_{kind}": number for kind, number in run.parameters.items()}


def _csv_cells(key: str, figure: Figure) -> dict[str, object]:
    cells = {
        key: figure.value,
        f"{key}/error": figure.error,
        f"{key}/floor": figure.floor,
        f"{key}/z": figure.z,
    }
    return {name: value for name, value in cells.items() if value is not None}
