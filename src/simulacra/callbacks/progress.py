"""How training goes, for people: a bar on a terminal, and a line after every validation anywhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from simulacra.training.module import Module

log = logging.getLogger(__name__)

JUDGED = {"val/boosted_auc": "AUC", "val/w1_mean": "W1"}
"""What the judges find, by the names that people know."""


class ProgressBar(RichProgressBar):
    """Losses by the names of their objectives, and what the judges found last; epochs count from 1.

    The bar is shown on terminals only, the lines on terminals and in files.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=10, leave=False)
        if not sys.stdout.isatty():
            self.disable()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Losses of the latest step, and the latest judgement."""
        return {**losses(trainer, pl_module, "train"), **judgement(trainer)}

    def _get_train_description(self, current_epoch: int) -> str:
        text = epoch(trainer=self.trainer, number=current_epoch + 1)
        return f"{text:{len(self.validation_description)}}"

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what was found."""
        super().on_validation_end(trainer, pl_module)
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        found = {
            **losses(trainer, pl_module, "train"),
            **{f"val {name}": v for name, v in losses(trainer, pl_module, "val").items()},
            **judgement(trainer),
        }
        values = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        line = f"{epoch(trainer, trainer.current_epoch + 1).lower()}: {values or 'nothing logged'}"
        if self.is_enabled and self.progress is not None:
            self.progress.console.print(line, highlight=False)
        else:
            log.info("%s", line)


def epoch(trainer: pl.Trainer, number: int) -> str:
    """``Epoch 3/12``, or without the end where steps bound the training."""
    end = trainer.max_epochs
    return f"Epoch {number}" if end is None or end < 0 else f"Epoch {number}/{end}"


def losses(trainer: pl.Trainer, module: pl.LightningModule, part: str) -> dict[str, float]:
    """The loss of each objective by its name; that of the only one is ``loss``."""
    assert isinstance(module, Module)
    names = list(module.objectives())
    keys = {f"{part}/{name}/loss": name for name in names}
    if len(names) == 1:
        keys = {f"{part}/loss": "loss"}
    return _found(trainer, keys)


def judgement(trainer: pl.Trainer) -> dict[str, float]:
    """The latest figures of the judges."""
    return _found(trainer, JUDGED)


def _found(trainer: pl.Trainer, keys: dict[str, str]) -> dict[str, float]:
    logged = trainer.callback_metrics
    return {name: float(logged[key]) for key, name in keys.items() if key in logged}
