"""Jobs of a sweep that fall behind are ended early.

The median rule of Vizier (Golovin et al., KDD 2017, section 3.2.1) with best values in place of averages: a
job ends at a validation if the best figure that it has reached is worse than the median of the best figures
that earlier jobs had reached at the same step. It looks into their tables of figures, so that it works with
every sweeper and launcher whose jobs share a disk. What a sweeper is told of an ended job is what it has
reached, measured as for any other.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl

from simulacra.callbacks.early_stopping import tell
from simulacra.core.ranges import Count, Whole
from simulacra.tracking.runs import job_number

TABLE = "metrics.csv"


class MedianPruning(pl.Callback):
    """Compares a job at each validation with the earlier ones of its sweep.

    Only jobs of smaller numbers count, so that a sweep whose jobs run one after the other gives the same
    result when one of them is run again.

    Args:
        sweep: Folder of the sweep, with a folder per job.
        job: Name of the folder of this job, which begins with its number; nothing is compared without one.
        monitor: Logged figure, e.g. ``val/boosted_auc``.
        mode: ``min`` or ``max``.
        jobs: Earlier jobs that must have come as far, at least.
        warmup: Validations before the first comparison.
    """

    def __init__(
        self, sweep: str, job: str, monitor: str, mode: str, jobs: Count, warmup: Whole
    ) -> None:
        self.sweep, self.number, self.monitor = Path(sweep), job_number(job), monitor
        self.sign = -1.0 if mode == "max" else 1.0
        self.jobs, self.warmup = jobs, warmup
        self._best: float | None = None
        self._seen = 0
        self._ended = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A job that had ended does not go on."""
        trainer.should_stop = trainer.should_stop or self._ended

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End training where the job is behind."""
        if trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        value = self.sign * float(trainer.callback_metrics[self.monitor])
        self._best = value if self._best is None else min(self._best, value)
        self._seen += 1
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        others = list(self.earlier(step)) if trainer.is_global_zero else []
        behind = self._seen > self.warmup and is_behind(self._best, others, self.jobs)
        if trainer.strategy.broadcast(behind):
            trainer.should_stop = self._ended = True
            tell(
                f"training ends: {self.monitor} has reached {self.sign * self._best:.4g}, worse than "
                f"the median of {len(others)} earlier jobs at this step"
            )

    def earlier(self, step: int) -> Iterator[float]:
        """What earlier jobs that have come as far as a step had reached there; smaller is better."""
        if self.number is None:
            return
        for path in sorted(self.sweep.glob(f"*/{TABLE}")):
            number = job_number(path.parent.name)
            if number is None or number >= self.number:
                continue
            found = list(figures(path, self.monitor))
            if found and found[-1][0] >= step:
                until = [self.sign * value for at, value in found if at <= step]
                if until:
                    yield min(until)

    def state_dict(self) -> dict[str, float | int | bool | None]:
        """What has been reached so far."""
        return {"best": self._best, "seen": self._seen, "ended": self._ended}

    def load_state_dict(self, state_dict: dict[str, float | int | bool | None]) -> None:
        """Go on from there."""
        best = state_dict["best"]
        self._best = None if best is None else float(best)
        self._seen, self._ended = int(state_dict["seen"] or 0), bool(state_dict["ended"])


def is_behind(best: float, others: list[float], jobs: int) -> bool:
    """Whether a figure, of which smaller is better, is worse than the median of enough others."""
    return len(others) >= jobs and best > statistics.median(others)


def figures(path: Path, name: str) -> Iterator[tuple[int, float]]:
    """Step and value of a figure in a table; rows that are just being written are left out."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                try:
                    if row.get(name):
                        yield int(row["step"]), float(row[name])
                except (TypeError, ValueError, KeyError):
                    continue
    except OSError:
        return
