"""Students of diffusion models of point clouds: samples in one or a few steps.

Transform, numbers of the event, network and process are the teacher's; the student's network starts from the
teacher's weights. The losses are those of :mod:`simulacra.dynamics.consistency`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

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


@dataclass(frozen=True)
class Halving:
    """How progressive distillation goes.

    Args:
        steps: Steps of the student's walk, half of the teacher's.
    """

    steps: int


@dataclass(frozen=True)
class Averaging:
    """How consistency distillation goes.

    Args:
        steps: Steps of the walk along which the student learns.
        decay: Share of the moving average of its weights that is kept at each optimizer step.
    """

    steps: int
    decay: float


class CloudStudent(Student, CloudDiffusion):
    """What both distillations share.

    Args:
        spec: See :class:`CloudDiffusion`, as all others but the teacher and the distillation; they are to be
            the teacher's.
        given: What is given.
        teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled, but
            not trained).
        transform: The transform.
        numbers: The event's numbers.
        net: The network.
        process: How the teacher learnt.
        distillation: How the student learns.
        solver: Solver for sampling, the student's own.
        optim: How the network is moved, the student's own.
    """

    learns_from = CloudDiffusion

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        numbers: MakeNumbers,
        net: MakeNet,
        process: Diffusion,
        distillation: Halving | Averaging,
        solver: Solver,
        optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, numbers=numbers, net=net, process=process,
            ranked=False, solver=solver, optim=optim,
        )  # fmt: skip
        self.teacher = None if teacher is None else Teacher(teacher)
        self.steps = distillation.steps
        self.event_flow.requires_grad_(False)

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`~simulacra.models.teacher.Student`."""
        assert isinstance(teacher, CloudDiffusion)
        if teacher.process != self.taught_process or teacher.transform.seen != self.transform.seen:
            raise IncompatibleError(
                "process or transform.seen of student and teacher differ: their settings must be the same"
            )
        copy_weights(self.event_flow, teacher.event_flow, "flows of the event's numbers")
        copy_weights(self.net, teacher.net, "networks")

    @property
    def taught_process(self) -> Diffusion:
        """How the teacher learnt."""
        return self.process

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of the network of the points."""
        return {"student": Objective(self.loss, list(self.net.parameters()), self.optim)}

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
        spec: See :class:`CloudStudent`, as all others.
        given: What is given.
        teacher: The teacher.
        transform: The transform.
        numbers: The event's numbers.
        net: The network.
        process: How the teacher learnt, on a :class:`~simulacra.dynamics.paths.KarrasPath`.
        distillation: How the student learns.
        solver: Solver for sampling, a single step of DDIM.
        optim: How the network is moved.

    Raises:
        UserError: If the teacher's process is another.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        numbers: MakeNumbers,
        net: MakeNet,
        process: Diffusion,
        distillation: Averaging,
        solver: Solver,
        optim: Optim,
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
            spec=spec, given=given, teacher=teacher, transform=transform, numbers=numbers, net=net,
            process=replace(process, predicts=boundary), distillation=distillation, solver=solver,
            optim=optim,
        )  # fmt: skip
        self.decay = distillation.decay
        self.target = deepcopy(self.net).requires_grad_(False)

    @property
    def taught_process(self) -> Diffusion:
        """See :class:`CloudStudent`."""
        return self._taught

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`CloudStudent`."""
        super().adopt(teacher)
        self.target.load_state_dict(self.net.state_dict())

    def objectives(self) -> dict[str, Objective]:
        """As of the base class; the average follows after each optimizer step."""
        own = super().objectives()
        return {name: replace(item, after=self.follow) for name, item in own.items()}

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
