"""Training stops on a signal where it can be taken up again bit for bit, and is taken up there.

A signal is noted. Training stops when the present group of batches is done, so that no gradients, no held
batches and no entry of the trackers are lost, or in the validation that follows, which is then repeated as a
whole. Several processes agree at the end of each group.

How far an epoch is follows from the trainer's counters, which every checkpoint holds. Lightning 2.6 restores
them, with four gaps that are closed here: it makes the loaders before it knows how many batches to skip,
it takes the end of an epoch for its middle where steps bound the run, it looks for validations that are
done where there are none, and it leaves out a last validation that was broken off where steps bound the run.
"""

from __future__ import annotations

import signal
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.progress import _ProcessedTracker

from simulacra.core.signals import Interrupted, Paused, Waiting
from simulacra.training.module import Module


class Interruption(pl.Callback):
    """Stops at the next point from which training can go on; Ctrl-C for the second time stops at once.

    It comes last among the callbacks that do not write checkpoints.
    """

    def __init__(self) -> None:
        self._signals = Waiting(self._answer)
        self._judging = False
        self._agreed = False

    @property
    def noted(self) -> int | None:
        """The signal that has arrived."""
        return self._signals.number

    @property
    def number(self) -> int:
        """The signal that has stopped training."""
        return self.noted or signal.SIGTERM

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up a run where it was left; from now on signals wait."""
        fit = trainer.fit_loop
        if fit.is_resuming:
            if epoch_unfinished(trainer):
                fit._load_combined_loader_states()
            elif fit.restarting:  # as Lightning does by itself where epochs bound the run
                fit.epoch_progress.increment_completed()
                fit._restarting = False
                fit.epoch_loop.restarting = False
        self._signals.begin()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Let Lightning stop once it has written the figures of a group that is complete."""
        assert isinstance(pl_module, Module)
        if pl_module.turn_complete and self._asked(trainer):
            self._agreed = True
            trainer._signal_connector.received_sigterm = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not begin a validation if training shall stop."""
        if self._agreed:
            raise Paused(self.number)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A validation of one process can be broken off anywhere; several would wait for each other."""
        self._judging = not trainer.sanity_checking and trainer.world_size == 1

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """All judges are done; what they found is logged next, in one piece."""
        judged, self._judging = self._judging, False
        if judged and self._signals.number is not None:
            raise Paused(self.number)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Signals wait until the last checkpoint is written."""
        self._judging = False

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Signals are answered by the command again."""
        self._signals.end()

    def _asked(self, trainer: pl.Trainer) -> bool:
        mine = self._signals.number is not None
        if trainer.world_size == 1:
            return mine
        return bool(trainer.strategy.reduce_boolean_decision(mine, all=False))

    def _answer(self, number: int, earlier: int | None) -> None:
        if self._judging:
            raise Paused(number)
        if earlier == number == signal.SIGINT:
            raise Interrupted(number)


class EpochsFinished(_FitLoop):
    """Lightning's loop over epochs, which does the validation first in which a run was left, also where all
    steps are done.
    """

    @classmethod
    def install(cls, trainer: pl.Trainer) -> None:
        """Take the place of the trainer's own."""
        loop = cls(trainer, trainer.min_epochs, trainer.max_epochs)
        loop.epoch_loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop = loop

    @property
    def done(self) -> bool:
        """Whether nothing is left to be done."""
        trained = self.restarting and self.epoch_loop.batch_progress.is_last_batch
        return not (trained and epoch_unfinished(self.trainer)) and super().done


def epoch_unfinished(trainer: pl.Trainer) -> bool:
    """Whether the trainer's counters stand within an epoch, validation included."""
    current = trainer.fit_loop.epoch_progress.current
    assert isinstance(current, _ProcessedTracker)
    return current.processed < current.ready


def stopped_by(trainer: pl.Trainer) -> int:
    """The signal that has stopped a training."""
    return noted(trainer) or signal.SIGTERM


def noted(trainer: pl.Trainer) -> int | None:
    """The signal that has arrived in a training, be it when nothing was left to be stopped."""
    found = [item for item in trainer.callbacks if isinstance(item, Interruption)]  # type: ignore[attr-defined]  # set by Lightning, not declared
    return found[0].noted if found else None
