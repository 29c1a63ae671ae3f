"""Stepping of one or several objectives, once for all families.

One objective that takes every turn once is Lightning's automatic optimisation. Others are stepped by hand, in
the order of :meth:`~simulacra.training.module.Module.objectives`, with gradient clipping, accumulation,
precision, phases and schedules handled here. Where gradients are accumulated, the latent events of a group
of batches are held, and every step of an objective is taken on the mean loss of the whole group. As in
Lightning, a group ends with the epoch at the latest, so that a run resumed after an epoch has lost nothing.

How far a run is follows from the batches that the trainer has counted, and from nothing else: a resumed run
goes on in the phase in which it was left. Where it is resumed with another length or another learning rate,
phases and schedules are those of a run that was planned so from the start, at the step where it stands.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from simulacra.core import Batch, Latent, UserError
from simulacra.nn import sharding
from simulacra.training.finite import Buffers, Skips, finite
from simulacra.training.objective import Objective, Renewal, check_phases
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
    skips: Skips
    """Steps that were left out since their loss or gradient was not finite."""
    moved: bool = True
    """Whether weights have moved in the latest turn."""
    _turns: int = 0
    _made: dict[str, Objective] | None = None
    _held: list[Latent]
    _losses: list[Tensor]
    _before: Buffers | None = None
    _plan: dict[str, list[Any]]
    _restored: dict[str, Any]
    _logged: dict[str, Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.skips = Skips()
        self._held, self._losses, self._logged = [], [], {}
        self._plan, self._restored = {}, {}

    def objectives(self) -> dict[str, Objective]:
        """Losses by name."""
        raise NotImplementedError

    def objectives_of_run(self) -> dict[str, Objective]:
        """As :meth:`objectives`, made once for a training: lists of all parameters take their time."""
        if not self.in_training:
            return self.objectives()
        if self._made is None:
            self._made = self.objectives()
        return self._made

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise a batch."""
        raise NotImplementedError

    @property  # type: ignore[misc]  # read-only here
    def automatic_optimization(self) -> bool:
        """Whether Lightning steps the single optimizer."""
        objectives = list(self.objectives_of_run().values())
        first = objectives[0]
        return len(objectives) == 1 and first.every == first.steps == 1 and first.renewal is None

    @property
    def in_training(self) -> bool:
        """Whether a trainer fits the module."""
        return (
            self._turns > 0
            and self._trainer is not None
            and self._trainer.state.fn == TrainerFn.FITTING
        )

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]; 0 outside of a training."""
        return min(1.0, self._turn()[0] / self._turns) if self.in_training else 0.0

    @property
    def turn_complete(self) -> bool:
        """Whether the present batch is the last of its turn, so that no gradients are left over."""
        return self._turn()[1]

    def current_objectives(self) -> dict[str, Objective]:
        """Objectives in whose phase the latest turn was; outside of a training those of the last phase."""
        objectives = self.objectives_of_run()
        if not self.in_training:
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
        self._held, self._losses = [], []

    def on_train_start(self) -> None:
        """Follow a plan that has changed since the checkpoint was written."""
        if self._restored.get("plan", self._plan) != self._plan:
            self._replan()

    def on_train_epoch_start(self) -> None:
        """Figures of an epoch are not those of the next one."""
        self._logged = {}
        self._restored.pop("logged", None)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The loss of the automatic objective, or one turn of every objective whose turn it is."""
        if self._restored.get("logged"):  # an entry holds the latest values of its epoch
            earlier = self._restored.pop("logged")
            self._note({name: torch.tensor(value) for name, value in earlier.items()}, len(batch))
        if self.skips.allowed and self.automatic_optimization and not self._losses:
            self._before = Buffers(self)
        latent = self.encode(batch)
        objectives = self.objectives_of_run()
        if self.automatic_optimization:
            values = next(iter(objectives.values())).loss(latent, None)
            self._losses.append(values["loss"].detach())
            self._log_losses("train", values, len(batch))
            return values["loss"]
        self._held.append(latent)
        turn, complete = self._turn()
        if complete:
            self.moved = False
            for (name, objective), optimizer, scheduler in zip(
                objectives.items(), self._optimizers(), self._schedulers(), strict=True
            ):
                if turn in objective.turns(self._turns):
                    if objective.renewal is not None and objective.starts_anew(turn, self._turns):
                        self._renew(objective.renewal, optimizer.optimizer)
                    self._by_hand(name, objective, optimizer, scheduler)
            self._held = []
        return None

    def _renew(self, renewal: Renewal, optimizer: Optimizer) -> None:
        """Fresh weights, those of the first rank, and an optimizer that has seen nothing."""
        fresh = self.trainer.strategy.broadcast(renewal.make().state_dict())
        renewal.network.load_state_dict(fresh)
        optimizer.state.clear()

    def _by_hand(
        self, name: str, objective: Objective, optimizer: LightningOptimizer, scheduler: Any
    ) -> None:
        prefix = "train" if len(self.objectives_of_run()) == 1 else f"train/{name}"
        for _ in range(objective.steps):
            if self.skips.allowed:
                self._before = Buffers(self)
            for number, latent in enumerate(self._held, 1):
                last = number == len(self._held)
                with optimizer.toggle_model(sync_grad=last):
                    values = objective.loss(latent, None)
                    self._losses.append(values["loss"].detach())
                    self.manual_backward(values["loss"] / len(self._held))
                    if last:
                        sound = self._prepare_step(prefix, name, objective, optimizer.optimizer)
                        optimizer.step()
                        optimizer.zero_grad()
            if sound:
                self.moved = True
                if scheduler is not None:
                    scheduler.step()
                if objective.after is not None:
                    objective.after()
        self._log_losses(prefix, values, len(latent))

    def _prepare_step(
        self, prefix: str, name: str, objective: Objective, optimizer: Optimizer
    ) -> bool:
        """Log and bound the gradient's norm; whether the optimizer may step on it.

        Where it may not, nothing is left of the gradient, with which every optimizer leaves weights and its
        state as they are.
        """
        losses, self._losses = torch.stack(self._losses), []
        gradients = [p.grad for p in objective.parameters if p.grad is not None]
        if not gradients:
            return True
        scale = self._scale(optimizer)
        total = torch.nn.utils.get_total_norm(gradients)
        norm = sharding.whole(total) / scale
        self._note({f"{prefix}/grad_norm": norm})
        sound = finite(norm, losses.sum())
        if self.trainer.world_size > 1:
            sound = self.trainer.strategy.reduce_boolean_decision(sound, all=True)
        if sound:
            if self.clip is not None:  # Lightning's own refuses fused optimizers in mixed precision
                torch.nn.utils.clip_grads_with_norm_(objective.parameters, self.clip * scale, total)
            return True
        if self._before is not None:
            self._before.restore()
        scaler = self._scaler()
        if scaler is None or scaler.get_scale() <= 1 or not finite(losses.sum()):
            self.skips.count(name, self.trainer.global_step, float(losses.sum()), float(norm))
            self._note({"train/skipped_steps": torch.tensor(float(self.skips.done))})
            for parameter in objective.parameters:
                if scaler is None or self.automatic_optimization:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.fill_(math.nan)  # the scaler will leave the step out
        return False

    def _scaler(self) -> torch.amp.GradScaler | None:
        """What leaves out steps whose gradient overflows float16, and takes smaller scales after them."""
        plugin = self.trainer.precision_plugin
        return plugin.scaler if isinstance(plugin, MixedPrecision) else None

    def _scale(self, optimizer: Optimizer) -> float:
        """Factor in the gradients; Lightning has taken it out of those of automatic optimisation."""
        scaler = self._scaler()
        return 1.0 if scaler is None or self.automatic_optimization else float(scaler.get_scale())

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Lightning's step of the automatic objective, and what comes after it."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        after = next(iter(self.objectives_of_run().values())).after
        if after is not None and self.moved:
            after()

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Lightning's step of the schedule of the automatic objective, if weights have moved."""
        if self.moved:
            super().lr_scheduler_step(scheduler, metric)

    def configure_optimizers(self) -> Any:
        """Optimizers and schedules of all objectives, each schedule as long as its objective's phase."""
        self._made = None
        check_phases(self.objectives().values())
        self._turns = self._count_turns()
        self._plan = {"rates": [], "totals": []}
        configured = []
        for name, objective in self.objectives().items():
            moved = [item for item in objective.parameters if item.requires_grad]
            if not moved:
                raise UserError(
                    f"nothing is left to train for the objective {name!r}: all of its weights are frozen"
                )
            optimizer = objective.optim.start(moved)
            self._plan["rates"].append([float(g["lr"]) for g in optimizer.param_groups])
            self._plan["totals"].append(self._steps(objective))
            entry: dict[str, Any] = {"optimizer": optimizer}
            if objective.optim.scheduler is not None:
                entry["lr_scheduler"] = {
                    "scheduler": objective.optim.schedule(optimizer, self._steps(objective)),
                    "interval": "step",
                }
            configured.append(entry)
        return configured[0] if len(configured) == 1 else configured

    def _replan(self) -> None:
        """Make the schedules anew and put them to where a run of the present plan would stand."""
        configs = iter(self.trainer.lr_scheduler_configs)
        turn = self._turn()[0]
        for objective, optimizer, rates in zip(
            self.objectives().values(), self.trainer.optimizers, self._plan["rates"], strict=True
        ):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
                if "initial_lr" in group:
                    group["initial_lr"] = rate
            if objective.optim.scheduler is None:
                continue
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
                fresh = objective.optim.scheduler(optimizer, total_steps=self._steps(objective))
                for _ in range(self._steps(objective, turn)):
                    fresh.step()  # the optimizer's own steps were taken before
            next(configs).scheduler = fresh

    def _steps(self, objective: Objective, before: int | None = None) -> int:
        """Optimizer steps of an objective before a turn, or in the whole run: there at least one."""
        turns = objective.turns(self._turns)
        if before is None:
            return max(1, objective.steps * len(turns))
        return objective.steps * len(range(turns.start, min(turns.stop, before), turns.step))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs beside Lightning's own, and leave plain types of that."""
        for state in checkpoint.get("lr_schedulers", ()):
            state |= {key: dict(part) for key, part in state.items() if isinstance(part, Counter)}
        checkpoint["stepping"] = {
            "skipped": self.skips.done,
            "plan": self._plan,
            "logged": {name: float(value) for name, value in self._logged.items()},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it over."""
        self._restored = dict(checkpoint.get("stepping", {}))
        self.skips.done = self._restored.get("skipped", 0)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip to :attr:`clip` and log the norm before clipping."""
        name, objective = next(iter(self.objectives_of_run().items()))
        self.moved = self._prepare_step("train", name, objective, optimizer)

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

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return list(optimizers) if isinstance(optimizers, list) else [optimizers]

    def _schedulers(self) -> list[Any]:
        """One entry per objective, None where it has no schedule."""
        made = iter([config.scheduler for config in self.trainer.lr_scheduler_configs])
        objectives = self.objectives_of_run().values()
        return [None if o.optim.scheduler is None else next(made) for o in objectives]

    def _note(self, values: dict[str, Tensor], n: int | None = None) -> None:
        self._logged |= {name: value.detach() for name, value in values.items()}
        self.log_dict({name: self._logged[name] for name in values}, batch_size=n)

    def _log_losses(self, prefix: str, values: dict[str, Tensor], n: int) -> None:
        self._note({f"{prefix}/{key}": value for key, value in values.items()}, n)
