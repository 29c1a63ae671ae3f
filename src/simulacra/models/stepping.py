"""Stepping of one or several objectives, once for all families.

One objective is Lightning's automatic optimisation. Several are stepped by hand, in the order of
:meth:`GenerativeModule.objectives`, with gradient clipping, accumulation, precision and schedules
handled here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from simulacra.core import Batch, Latent, UserError
from simulacra.models.objective import Objective
from simulacra.transforms.base import Transform

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Stepping(pl.LightningModule):
    """Mixin that turns ``objectives`` into training steps."""

    transform: Transform
    clip: float | None = None
    """Largest norm of each objective's gradient, or None."""
    accumulate: int = 1
    """Batches per optimizer step where several objectives are stepped by hand."""

    def objectives(self) -> dict[str, Objective]:
        """Losses by name."""
        raise NotImplementedError

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise a batch."""
        raise NotImplementedError

    @property  # type: ignore[misc]  # read-only here
    def automatic_optimization(self) -> bool:
        """Whether Lightning steps the single optimizer."""
        return len(self.objectives()) == 1

    def on_fit_start(self) -> None:
        """Refuse to train with a transform without statistics, or with ones that differ between
        ranks.
        """
        transform = self.transform
        if not bool(transform.fitted):
            raise UserError(
                "the transform has no statistics yet: call fit_transform with training events first"
            )
        number = torch.tensor(int(transform.digest()[:15], 16), device=self.device)
        if not bool(torch.as_tensor(self.all_gather(number) == number).all()):
            raise UserError("the statistics of the transform differ between ranks")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One step of the automatic objective, or of every objective whose turn it is."""
        latent = self.encode(batch)
        objectives = self.objectives()
        if len(objectives) == 1:
            values = next(iter(objectives.values())).loss(latent, None)
            self._log_losses("train", values, len(batch))
            return values["loss"]
        number = self.trainer.fit_loop.epoch_loop.total_batch_idx
        for (name, objective), optimizer, scheduler in zip(
            objectives.items(), self._optimizers(), self._schedulers(), strict=True
        ):
            if (number // self.accumulate) % objective.every == 0:
                self._by_hand(name, objective, optimizer, scheduler, latent, number)
        return None

    def _by_hand(
        self,
        name: str,
        objective: Objective,
        optimizer: LightningOptimizer,
        scheduler: Any,
        latent: Latent,
        number: int,
    ) -> None:
        last = (number + 1) % self.accumulate == 0
        for _ in range(objective.steps if self.accumulate == 1 else 1):
            with optimizer.toggle_model(sync_grad=last):
                values = objective.loss(latent, None)
                self.manual_backward(values["loss"] / self.accumulate)
                if last:
                    self._record_norm(name, objective)
                    self._clip(objective)
                    optimizer.step()
                    optimizer.zero_grad()
                    if scheduler is not None:
                        scheduler.step()
        self._log_losses(f"train/{name}", values, len(latent))

    def configure_optimizers(self) -> Any:
        """Optimizers and schedules of all objectives."""
        objectives = self.objectives()
        steps = self._total_batches()
        configured = []
        for objective in objectives.values():
            optimizer = objective.optim.optimizer(objective.parameters)
            entry: dict[str, Any] = {"optimizer": optimizer}
            if objective.optim.scheduler is not None:
                total = max(1, math.ceil(steps * objective.rate))
                entry["lr_scheduler"] = {
                    "scheduler": objective.optim.scheduler(optimizer, total_steps=total),
                    "interval": "step",
                }
            configured.append(entry)
        return configured[0] if len(configured) == 1 else configured

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip to :attr:`clip` and log the norm before clipping."""
        objective = next(iter(self.objectives().values()))
        self._record_norm("", objective)
        self._clip(objective)

    def _clip(self, objective: Objective) -> None:
        """Bound the gradient's norm; Lightning's own refuses fused optimizers under mixed precision."""
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(objective.parameters, self.clip)

    def _total_batches(self) -> float:
        """Optimizer turns per objective of rate 1 until training ends."""
        trainer = self.trainer
        bounds: list[float] = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            trainer.fit_loop.setup_data()
            accumulate = max(self.accumulate, trainer.accumulate_grad_batches)
            bounds.append(trainer.max_epochs * math.ceil(trainer.num_training_batches / accumulate))
        if trainer.max_steps > 0:
            bounds.append(
                trainer.max_steps / sum(objective.rate for objective in self.objectives().values())
            )
        if not bounds:
            raise UserError("training needs an end: set trainer.max_steps or trainer.max_epochs")
        return min(bounds)

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return list(optimizers) if isinstance(optimizers, list) else [optimizers]

    def _schedulers(self) -> list[Any]:
        """One entry per objective, None where it has no schedule."""
        made = iter([config.scheduler for config in self.trainer.lr_scheduler_configs])
        objectives = self.objectives().values()
        return [None if o.optim.scheduler is None else next(made) for o in objectives]

    def _record_norm(self, name: str, objective: Objective) -> None:
        norms = [p.grad.norm() for p in objective.parameters if p.grad is not None]
        if norms:
            self.log(
                f"train/{name}/grad_norm" if name else "train/grad_norm", torch.stack(norms).norm()
            )

    def _log_losses(self, prefix: str, values: dict[str, Tensor], n: int) -> None:
        self.log_dict(
            {f"{prefix}/{key}": value.detach() for key, value in values.items()}, batch_size=n
        )
