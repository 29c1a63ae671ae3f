"""Stepping of one or several objectives, once for all families.

One objective that takes every turn once is Lightning's automatic optimisation. Others are stepped by hand, in
the order of :meth:`~simulacra.training.module.Module.objectives`, with gradient clipping, accumulation,
precision, phases and schedules handled here. Where gradients are accumulated, the latent events of a group
of batches are held, and every step of an objective is taken on the mean loss of the whole group. As in
Lightning, a group ends with the epoch at the latest, so that a run resumed after an epoch has lost nothing.

How far a run is follows from the batches that the trainer has counted, and from nothing else: a resumed run
goes on in the phase in which it was left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from simulacra.core import Batch, Latent, UserError
from simulacra.training.objective import Objective, check_phases
from simulacra.transforms.base import Transform

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Stepping(pl.LightningModule):
    """Mixin that turns ``objectives`` into training steps."""

    transform: Transform
    clip: float | None = None
    """Largest norm of each objective's gradient, or None."""
    accumulate: int = 1
    """Batches per turn where objectives are stepped by hand."""
    _turns: int = 0
    _held: list[Latent]

    def objectives(self) -> dict[str, Objective]:
        """Losses by name."""
        raise NotImplementedError

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise a batch."""
        raise NotImplementedError

    @property  # type: ignore[misc]  # read-only here
    def automatic_optimization(self) -> bool:
        """Whether Lightning steps the single optimizer."""
        objectives = list(self.objectives().values())
        return len(objectives) == 1 and objectives[0].every == objectives[0].steps == 1

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]; 0 outside of a training."""
        return min(1.0, self._turn()[0] / self._turns) if self._in_fit() else 0.0

    def current_objectives(self) -> dict[str, Objective]:
        """Objectives in whose phase the latest turn was; outside of a training those of the last phase."""
        objectives = self.objectives()
        if not self._in_fit():
            return {name: item for name, item in objectives.items() if item.end == 1}
        turn = max(0, self._turn()[0] - 1)
        return {n: item for n, item in objectives.items() if item.in_phase(turn, self._turns)}

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
        self._held = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The loss of the automatic objective, or one turn of every objective whose turn it is."""
        latent = self.encode(batch)
        objectives = self.objectives()
        if self.automatic_optimization:
            values = next(iter(objectives.values())).loss(latent, None)
            self._log_losses("train", values, len(batch))
            return values["loss"]
        self._held.append(latent)
        turn, complete = self._turn()
        if complete:
            for (name, objective), optimizer, scheduler in zip(
                objectives.items(), self._optimizers(), self._schedulers(), strict=True
            ):
                if turn in objective.turns(self._turns):
                    prefix = "train" if len(objectives) == 1 else f"train/{name}"
                    self._by_hand(prefix, objective, optimizer, scheduler)
            self._held = []
        return None

    def _by_hand(
        self, prefix: str, objective: Objective, optimizer: LightningOptimizer, scheduler: Any
    ) -> None:
        for _ in range(objective.steps):
            for number, latent in enumerate(self._held, 1):
                last = number == len(self._held)
                with optimizer.toggle_model(sync_grad=last):
                    values = objective.loss(latent, None)
                    self.manual_backward(values["loss"] / len(self._held))
                    if last:
                        self._record_norm(prefix, objective)
                        self._clip(objective)
                        optimizer.step()
                        optimizer.zero_grad()
            if scheduler is not None:
                scheduler.step()
            if objective.after is not None:
                objective.after()
        self._log_losses(prefix, values, len(latent))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Lightning's step of the automatic objective, and what comes after it."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        after = next(iter(self.objectives().values())).after
        if after is not None:
            after()

    def configure_optimizers(self) -> Any:
        """Optimizers and schedules of all objectives, each schedule as long as its objective's phase."""
        objectives = self.objectives().values()
        check_phases(objectives)
        self._turns = self._count_turns()
        configured = []
        for objective in objectives:
            optimizer = objective.optim.optimizer(objective.parameters)
            entry: dict[str, Any] = {"optimizer": optimizer}
            if objective.optim.scheduler is not None:
                total = max(1, objective.steps * len(objective.turns(self._turns)))
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
        self._record_norm("train", objective)
        self._clip(objective)

    def _clip(self, objective: Objective) -> None:
        """Bound the gradient's norm; Lightning's own refuses fused optimizers under mixed precision."""
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(objective.parameters, self.clip)

    def _count_turns(self) -> int:
        """Turns until training ends."""
        trainer, objectives = self.trainer, self.objectives().values()
        bounds: list[int] = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            trainer.fit_loop.setup_data()
            bounds.append(
                trainer.max_epochs * math.ceil(trainer.num_training_batches / self._group())
            )
        if trainer.max_steps > 0:
            turns = math.ceil(trainer.max_steps / sum(objective.rate for objective in objectives))
            while sum(o.steps * len(o.turns(turns)) for o in objectives) < trainer.max_steps:
                turns += 1  # the borders of phases are rounded to whole turns
            bounds.append(turns)
        if not bounds:
            raise UserError("training needs an end: set trainer.max_steps or trainer.max_epochs")
        return min(bounds)

    def _group(self) -> int:
        """Batches per turn, fewer at the end of an epoch."""
        return max(self.accumulate, self.trainer.accumulate_grad_batches)

    def _turn(self) -> tuple[int, bool]:
        """Number of turns that are done, and whether the next batch is the last of its turn."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        size, group = self.trainer.num_training_batches, self._group()
        epochs, batches = (0, done) if math.isinf(size) else divmod(done, int(size))
        before = epochs * math.ceil(size / group) if epochs else 0
        return before + batches // group, (batches + 1) % group == 0 or batches + 1 == size

    def _in_fit(self) -> bool:
        return (
            self._turns > 0
            and self._trainer is not None
            and self._trainer.state.fn == TrainerFn.FITTING
        )

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return list(optimizers) if isinstance(optimizers, list) else [optimizers]

    def _schedulers(self) -> list[Any]:
        """One entry per objective, None where it has no schedule."""
        made = iter([config.scheduler for config in self.trainer.lr_scheduler_configs])
        objectives = self.objectives().values()
        return [None if o.optim.scheduler is None else next(made) for o in objectives]

    def _record_norm(self, prefix: str, objective: Objective) -> None:
        norms = [p.grad.norm() for p in objective.parameters if p.grad is not None]
        if norms:
            self.log(f"{prefix}/grad_norm", torch.stack(norms).norm())

    def _log_losses(self, prefix: str, values: dict[str, Tensor], n: int) -> None:
        self.log_dict(
            {f"{prefix}/{key}": value.detach() for key, value in values.items()}, batch_size=n
        )
