"""Students of diffusion models of point clouds: samples in one or a few steps.

Transform, numbers of the event, network and process are the teacher's; the student's network starts from the
teacher's weights. The losses are those of :mod:`simulacra.dynamics.consistency`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import IncompatibleError, Latent, Spec, UserError, draws
from simulacra.dynamics.clouds import CloudNetwork, counted
from simulacra.dynamics.consistency import consistency_loss, progressive_loss
from simulacra.dynamics.denoiser import Denoiser, Preconditioned
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.paths import KarrasPath
from simulacra.dynamics.solvers import Solver
from simulacra.models.base import GenerativeModule, Objective
from simulacra.models.cloud import MakeNumbers, MakeTransform, trimmed
from simulacra.models.cloud_diffusion import CloudDiffusion, MakeNet, bound
from simulacra.models.optim import Optim
from simulacra.models.teacher import Student, Teacher, copy_weights


class CloudStudent(Student, CloudDiffusion):
    """What both distillations share.

    Args:
        spec: The data set, of kind cloud.
        given: Conditions and event fields that are given (None: the conditions).
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: Makes the transform, as the teacher's.
        numbers: Makes the flow of the event's numbers, as the teacher's.
        event_cond: As the teacher's.
        net: Makes the network, as the teacher's.
        process: How the teacher learnt.
        steps: Steps of the walk along which the student learns.
        solver: Solver for sampling.
        optimizer: Makes the optimizer from the parameters.
        scheduler: Makes the schedule, or None.
    """

    learns_from = CloudDiffusion

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        numbers: MakeNumbers,
        event_cond: bool,
        net: MakeNet,
        process: Diffusion,
        steps: int,
        solver: Solver,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
    ) -> None:
        super().__init__(
            spec, given, transform, numbers, event_cond, net, process, False, solver, optimizer, scheduler
        )  # fmt: skip
        self.teacher = None if teacher is None else Teacher(teacher)
        self.steps = steps
        self.event_flow.requires_grad_(False)

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`~simulacra.models.teacher.Student`."""
        assert isinstance(teacher, CloudDiffusion)
        if teacher.process != self.taught_process or teacher.event_cond != self.event_cond:
            raise IncompatibleError(
                "process or event_cond of student and teacher differ: their settings must be the same"
            )
        copy_weights(self.event_flow, teacher.event_flow, "flows of the event's numbers")
        copy_weights(self.net, teacher.net, "networks")

    @property
    def taught_process(self) -> Diffusion:
        """How the teacher learnt."""
        return self.process

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of the network of the points."""
        parameters = list(self.net.parameters())
        return {
            "student": Objective(
                self.loss, parameters, Optim(self.make_optimizer, self.make_scheduler)
            )
        }

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Distance between what student and teacher say."""
        taught = self.taught_by()
        assert isinstance(taught, CloudDiffusion)
        points, mask = trimmed(latent)
        real = mask[..., None].to(points.dtype)
        noise = draws.normal(points.shape, points, generator)
        counts = counted(mask, latent.weight, points)
        context = self.context(latent.x["event"], latent.cond)
        teacher = taught.process.denoiser(partial(taught.network(context), mask=mask))
        value = self.distil(teacher, points * real, noise * real, mask, context, counts, generator)
        return {"loss": value}

    @abstractmethod
    def distil(
        self,
        teacher: Denoiser,
        points: Tensor,
        noise: Tensor,
        mask: Tensor,
        context: Tensor | None,
        counts: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """The loss, a scalar."""


class CloudConsistency(CloudStudent):
    """Consistency distillation of a preconditioned denoiser; samples with a moving average of the network.

    Args:
        spec: See :class:`CloudStudent`, as all others but the last.
        given: Fields that are given.
        teacher: Checkpoint of the teacher.
        transform: Makes the transform.
        numbers: Makes the flow of the event's numbers.
        event_cond: As the teacher's.
        net: Makes the network.
        process: How the teacher learnt, on a :class:`~simulacra.dynamics.paths.KarrasPath`.
        steps: Steps of the walk.
        solver: Solver for sampling, a single step of DDIM.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
        decay: Share of the moving average that is kept at each optimizer step.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        numbers: MakeNumbers,
        event_cond: bool,
        net: MakeNet,
        process: Diffusion,
        steps: int,
        solver: Solver,
        decay: float,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
    ) -> None:
        if not isinstance(process.path, KarrasPath) or not isinstance(
            process.predicts, Preconditioned
        ):
            raise UserError(
                "consistency distillation needs a preconditioned denoiser on a Karras path"
            )
        self._taught = process
        boundary = replace(process.predicts, boundary=process.path.sigma_min)
        super().__init__(
            spec, given, teacher, transform, numbers, event_cond, net,
            replace(process, predicts=boundary), steps, solver, optimizer, scheduler,
        )  # fmt: skip
        self.decay = decay
        self.target = deepcopy(self.net).requires_grad_(False)
        self._followed = 0

    @property
    def taught_process(self) -> Diffusion:
        """See :class:`CloudStudent`."""
        return self._taught

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`CloudStudent`."""
        super().adopt(teacher)
        self.target.load_state_dict(self.net.state_dict())

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the average, which samples."""
        return list(self.target.parameters())

    def network(self, context: Tensor | None) -> CloudNetwork:
        """The average's network in sampling."""
        return bound(self.target, context)

    def distil(
        self,
        teacher: Denoiser,
        points: Tensor,
        noise: Tensor,
        mask: Tensor,
        context: Tensor | None,
        counts: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """See :func:`~simulacra.dynamics.consistency.consistency_loss`."""
        student, target = (
            self.process.denoiser(partial(bound(net, context), mask=mask))
            for net in (self.net, self.target)
        )
        return consistency_loss(
            student, target, teacher, points, noise, self.steps, counts, generator
        )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average after each optimizer step."""
        if self.trainer.global_step > self._followed:
            self._followed = self.trainer.global_step
            self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the network."""
        torch._foreach_lerp_(
            list(self.target.parameters()), list(self.net.parameters()), 1 - self.decay
        )


class CloudProgressive(CloudStudent):
    """Progressive distillation: the student's walk has half of the teacher's steps.

    The teacher may be such a student itself.
    """

    chains = True

    def distil(
        self,
        teacher: Denoiser,
        points: Tensor,
        noise: Tensor,
        mask: Tensor,
        context: Tensor | None,
        counts: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """See :func:`~simulacra.dynamics.consistency.progressive_loss`."""
        student = self.process.denoiser(partial(bound(self.net, context), mask=mask))
        return progressive_loss(student, teacher, points, noise, self.steps, counts, generator)
