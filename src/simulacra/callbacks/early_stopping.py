"""The end of a training that gets no better."""

from __future__ import annotations

import logging
from typing import Annotated

import pytorch_lightning as pl
from pytorch_lightning import callbacks
from pytorch_lightning.utilities import rank_zero_only

from simulacra.core import UserError
from simulacra.core.ranges import Count, Interval

log = logging.getLogger(__name__)


class EarlyStopping(callbacks.EarlyStopping):
    """Ends training after ``patience`` validations in which a figure has not improved.

    A run that has ended so stays ended when it is resumed. Schedules of learning rates are those of the full
    length.

    Args:
        monitor: Logged figure, e.g. ``val/boosted_auc``.
        mode: ``min`` or ``max``.
        patience: Validations without an improvement.
        min_delta: Least change that counts as an improvement.

    Raises:
        UserError: At a validation after which the figure is not known.
    """

    def __init__(
        self, monitor: str, mode: str, patience: Count, min_delta: Annotated[float, Interval(0)]
    ) -> None:
        super().__init__(monitor=monitor, mode=mode, patience=patience, min_delta=min_delta)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that had ended does not go on."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look whether the figure has improved.

        Raises:
            UserError: If nobody measures it.
        """
        if not trainer.sanity_checking and self.monitor not in trainer.callback_metrics:
            raise UserError(
                f"callbacks.early_stopping.monitor={self.monitor} is measured by no validation: "
                f"there are {', '.join(sorted(trainer.callback_metrics)[:20]) or 'no figures'}"
            )
        super().on_validation_end(trainer, pl_module)
        if self.stopped_epoch and trainer.should_stop:
            tell(f"training ends: {self.monitor} was not better in {self.wait_count} validations")


@rank_zero_only
def tell(text: str) -> None:
    """Say it once."""
    log.info("%s", text)
