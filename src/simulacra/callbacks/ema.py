r"""Exponential moving average of a generator's weights.

After optimizer step :math:`n` (from 0) the average is :math:`\bar w \leftarrow d_n \bar w + (1 - d_n) w`
with :math:`d_n = \min(d, (1 + n) / (\tau + n))`, :math:`\tau` being the warm-up. Validation, test and
checkpoints use the average; a checkpoint also holds the live weights, so that training goes on where it
stopped. Before it is used or saved an average takes anew what follows from its weights
(:meth:`~simulacra.training.module.Module.settle`), such as the statistics of a batch norm.
"""

from __future__ import annotations

from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import nn

from simulacra.core import UserError
from simulacra.core.ranges import Dropout, Interval
from simulacra.nn import derived, sharding
from simulacra.training.module import Module


class EMA(WeightAveraging):
    """Averages ``module.used_parameters()``; other parameters and all buffers are copied.

    Args:
        decay: Share of the old average that is kept in each step, in [0, 1).
        warmup: Steps by which the start is softened, at least 1: the first updates hardly remember.
    """

    def __init__(self, decay: Dropout, warmup: Annotated[float, Interval(1)]) -> None:
        if not 0 <= decay < 1 or warmup < 1:
            raise UserError(
                f"a moving average needs 0 <= decay < 1 and warmup >= 1, got {decay} and {warmup}"
            )
        super().__init__(use_buffers=False)
        self.decay, self.warmup = decay, warmup
        self._swapped = False
        self._averaged: set[int] = set()
        self._settled = -1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the module when a fit begins, and note which parameters are averaged."""
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        assert isinstance(pl_module, Module)
        wanted = {id(parameter) for parameter in pl_module.used_parameters()}
        self._averaged = {
            i for i, parameter in enumerate(pl_module.parameters()) if id(parameter) in wanted
        }

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where processes have parts of the weights, they have those of the average."""
        mesh = sharding.mesh_of(pl_module)
        if mesh is not None and self._average_model is not None:
            sharding.shard(self._average_model.module, mesh)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update after every batch in which an optimizer stepped; one that was left out does not count."""
        assert isinstance(pl_module, Module)
        if trainer.global_step > self._latest_update_step:
            if pl_module.moved:
                self._update(pl_module)
            self._latest_update_step = trainer.global_step

    @torch.no_grad()
    def _update(self, live: pl.LightningModule) -> None:
        average = self._average_model
        assert average is not None
        n = int(average.n_averaged)
        decay = min(self.decay, (1 + n) / (self.warmup + n))
        pairs = list(zip(average.module.parameters(), live.parameters(), strict=True))
        kept = [pair for i, pair in enumerate(pairs) if i in self._averaged]
        torch._foreach_lerp_(
            [mean for mean, _ in kept], [now.to(mean.device) for mean, now in kept], 1.0 - decay
        )
        for i, (mean, now) in enumerate(pairs):
            if i not in self._averaged:
                mean.copy_(now)
        for copy, buffer in zip(average.module.buffers(), live.buffers(), strict=True):
            copy.copy_(buffer)
        average.n_averaged += 1

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        if self._average_model is not None and trainer.state.fn == TrainerFn.FITTING:
            self._settle()
            self._swap_models(pl_module)
            self._swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the average in place for the other callbacks' ``on_validation_epoch_end``."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the live weights back."""
        self._restore(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The module is left as the average."""
        self._settle()
        super().on_train_end(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Put the live weights back before the last checkpoint is written."""
        self._restore(pl_module)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore average and live weights; outside a fit the checkpoint's average is loaded as it is."""
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the checkpoint's weights and the live weights beside it."""
        if self._average_model is not None:
            self._settle()
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
            average = self._average_model.module
            assert isinstance(average, nn.Module)
            if sharding.mesh_of(average) is not None:
                checkpoint["state_dict"] = sharding.state(average)

    def _swap_models(self, pl_module: pl.LightningModule) -> None:
        """Lightning writes through ``parameter.data``, here of parts where processes have such."""
        with sharding.apart(pl_module):
            super()._swap_models(pl_module)
        derived.changed()

    def _copy_average_to_current(self, pl_module: pl.LightningModule) -> None:
        """As :meth:`_swap_models`."""
        with sharding.apart(pl_module):
            super()._copy_average_to_current(pl_module)
        derived.changed()

    def _settle(self) -> None:
        """Settle the average, once for each of its values."""
        average = self._average_model
        if average is None or self._swapped or self._settled == int(average.n_averaged):
            return
        assert isinstance(average.module, Module)
        average.module.settle()
        self._settled = int(average.n_averaged)

    def _restore(self, pl_module: pl.LightningModule) -> None:
        if self._swapped:
            self._swap_models(pl_module)
            self._swapped = False
