"""How fast training goes and what it waits for."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import pytorch_lightning as pl

from simulacra.callbacks.exchange import exchange
from simulacra.core.ranges import Count


class Throughput(pl.Callback):
    """Logs events per second over all ranks, time per step, waiting for the loader, learning rates, and what
    the ranks exchange (:func:`~simulacra.callbacks.exchange.exchange`).

    ``perf/loader_fraction`` is the time between two steps (next batch, device copy) over the whole; the
    pause in which an epoch begins or is validated is left out.

    Args:
        every: Batches between two entries.

    Attributes:
        seconds: Time from the begin of the training to its end, with validations, of this process; 0 before.
    """

    def __init__(self, every: Count) -> None:
        self.every = every
        self._begin = self._end = 0.0
        self._wait = self._work = 0.0
        self._events = self._batches = 0
        self._start = self.seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note when training begins."""
        self._start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note how long it took."""
        self.seconds = time.perf_counter() - self._start

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the pause between epochs."""
        self._end = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note when the step begins."""
        self._begin = time.perf_counter()
        if self._end:
            self._wait += self._begin - self._end

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note when the step ends, and write an entry when it is time."""
        self._end = time.perf_counter()
        self._work += self._end - self._begin
        self._events += len(batch) * trainer.world_size
        self._batches += 1
        if (trainer.fit_loop.total_batch_idx + 1) % self.every == 0:
            self._write(trainer, pl_module)

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total = self._wait + self._work
        logs = {
            "perf/events_per_s": self._events / total,
            "perf/step_ms": 1e3 * self._work / self._batches,
            "perf/loader_fraction": self._wait / total,
            "perf/peak_memory_gib": peak_memory_gib(),
            **exchange(trainer),
        }
        for number, optimizer in enumerate(trainer.optimizers):
            name = "perf/lr" if len(trainer.optimizers) == 1 else f"perf/lr/{number}"
            logs[name] = float(optimizer.param_groups[0]["lr"])
        pl_module.log_dict(logs, on_step=True, on_epoch=False, batch_size=1)
        self._wait = self._work = 0.0
        self._events = self._batches = 0


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far [GiB]."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
