"""Which checkpoints a run keeps: the best by a physics figure, and the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from simulacra.core import UserError
from simulacra.core.constructors import writes
from simulacra.core.files import whole


@writes("folder")
class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``: the weights with the best validation figure so far.

    A figure that is not measured at every epoch counts at those epochs at which it is; a run that
    never measures it keeps its final weights.

    Args:
        folder: Where the file goes.
        monitor: Logged figure, e.g. ``val/boosted_auc``.
        mode: ``min`` or ``max``.
    """

    def __init__(self, folder: str, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where the figure has improved."""
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final weights where the figure was never measured."""
        if not self.best_model_path and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property made at run time
            assert self.dirpath is not None
            trainer.save_checkpoint(Path(self.dirpath) / "best.ckpt")


@writes("folder")
class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt``: written after every epoch and when training is interrupted.

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=folder,
            filename="last",
            save_top_k=1,
            save_on_exception=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: the temporary file lies beside the target."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write beside ``path``, then replace it.

        Raises:
            UserError: If the disk is full or the folder cannot be written.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as part:
                torch.save(checkpoint, part)
        except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
            raise UserError(
                f"cannot write the checkpoint {target}: {' '.join(str(error).split())[:200]}"
            ) from error
