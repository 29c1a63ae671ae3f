"""Which checkpoints a run keeps: the best by a physics figure, and the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from simulacra.callbacks.interruption import epoch_unfinished
from simulacra.core import UserError
from simulacra.core.constructors import writes
from simulacra.core.files import whole
from simulacra.core.ranges import Count
from simulacra.core.signals import Paused, behind
from simulacra.training.checkpoint import STATES, diverged
from simulacra.training.module import Module

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


@writes("dirpath")
class PortableCheckpoint(ModelCheckpoint):
    """Remembers its files by their names, so that a run directory can be moved or copied."""

    def state_dict(self) -> dict[str, Any]:
        """State without folders."""
        state = super().state_dict()
        return {
            **state,
            **{key: Path(state[key]).name for key in _PATHS},
            "best_k_models": {Path(path).name: v for path, v in state["best_k_models"].items()},
            "dirpath": "",
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was remembered, of files that lie in this callback's folder now."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else ""

        kept = {here(path): value for path, value in state_dict["best_k_models"].items()}
        paths = {key: here(state_dict[key]) for key in _PATHS}
        super().load_state_dict(
            {**state_dict, **paths, "best_k_models": kept, "dirpath": self.dirpath}
        )


@writes("folder")
class BestCheckpoint(PortableCheckpoint):
    """``best.ckpt``: the weights with the best validation figure so far.

    A figure that is not measured at every epoch counts at those epochs at which it is; a run that
    never measures it keeps its final weights.

    Args:
        folder: Where the file goes.
        monitor: Logged figure, e.g. ``val/boosted_auc``.
        mode: ``min`` or ``max``.

    Raises:
        UserError: At the start of a training, if it is a loss of networks that play against each other.
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

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to choose by a loss that does not say what weights are better.

        Raises:
            UserError: If the figure is a loss of players against each other.
        """
        assert isinstance(pl_module, Module)
        assert self.monitor is not None
        losses = ("train/", *(f"val/{name}/" for name in pl_module.objectives()))
        if pl_module.adversarial and self.monitor.startswith(losses):
            raise UserError(
                f"{self.monitor} is a loss of {type(pl_module).__name__}, whose networks play against each "
                "other: it does not say what weights are better; set callbacks.best.monitor=val/w1_mean"
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
class BestEpochs(PortableCheckpoint):
    """``epoch_0007.ckpt`` …: the weights after several epochs with the best validation figure, for samples or
    scores that are pooled over them.

    Args:
        folder: Where the files go.
        monitor: Logged figure, e.g. ``val/loss``; epochs at which it is not measured do not count.
        mode: ``min`` or ``max``.
        number: Epochs.
    """

    def __init__(self, folder: str, monitor: str, mode: str, number: Count) -> None:
        super().__init__(
            dirpath=folder,
            filename="epoch_{epoch:04d}",
            auto_insert_metric_name=False,
            monitor=monitor,
            mode=mode,
            save_top_k=number,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where the figure is among the best."""
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)


@writes("folder")
class LastCheckpoint(PortableCheckpoint):
    """``last.ckpt``: written after every epoch, and where training stops for a signal between two steps or in
    a validation. In the middle of a step there is nothing to go on from: the earlier file stays.

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            dirpath=folder,
            filename="last",
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save where training can go on within the epoch; the end of an epoch is saved already."""
        stop = exception if isinstance(exception, SIGTERMException) else behind(exception)
        if not isinstance(stop, SIGTERMException | Paused) or not epoch_unfinished(trainer):
            return
        if isinstance(stop, Paused):
            begin_validation_again(trainer)
        assert self.dirpath is not None
        trainer.save_checkpoint(Path(self.dirpath) / "last.ckpt")


def begin_validation_again(trainer: pl.Trainer) -> None:
    """Let the counters stand as if the first batch of the validation had been broken off."""
    count = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    progress.load_state_dict({"total": dict(count), "current": dict(count), "is_last_batch": False})


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: the temporary file lies beside the target."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write beside ``path``, then replace it.

        Raises:
            UserError: If a weight is not finite, the disk is full or the folder cannot be written.
        """
        target = Path(path)
        refuse_nonfinite(checkpoint, target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target, private=True) as part, part.open("wb") as file:
                torch.save(
                    checkpoint, file
                )  # to a file, since the archive holds the name of a path
        except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
            raise UserError(
                f"cannot write the checkpoint {target}: {' '.join(str(error).split())[:200]}"
            ) from error


def refuse_nonfinite(checkpoint: dict[str, Any], target: Path) -> None:
    """Refuse weights that nothing can be done with; an earlier file stays.

    Raises:
        UserError: If a weight is NaN or infinite.
    """
    wrong = [
        name for part in STATES if part in checkpoint for name, _ in diverged(checkpoint[part])
    ]
    if wrong:
        raise UserError(
            f"{target} was not written: {len(wrong)} tensors hold values that are not finite, the first is "
            f"{wrong[0]!r}; try a smaller learning rate or trainer.gradient_clip_val"
        )
