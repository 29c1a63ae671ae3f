"""Students of diffusion models of point clouds: samples in one or a few steps.

Transform, numbers of the event, network and process are the teacher's; the student's network starts from the
teacher's weights and learns as its :class:`~simulacra.dynamics.students.Distillation` says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import IncompatibleError, Latent, Spec, draws
from simulacra.dynamics.clouds import CloudNetwork, counted
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver
from simulacra.dynamics.students import Distillation
from simulacra.models.clouds.cloud import MakeTransform, trimmed
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion, MakeNet
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.training.teacher import Student, Teacher, copy_weights


class CloudStudent(Student, CloudDiffusion):
    """See the module's docstring; a teacher may be such a student itself, of more steps.

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
    inherits = Student.same("transform", "numbers", "net", "process")
    target: nn.Module | None

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        net: MakeNet,
        process: Diffusion,
        distillation: Distillation,
        solver: Solver,
        optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, numbers=numbers, net=net,
            process=distillation.process(process), ranked=False, solver=solver, optim=optim,
        )  # fmt: skip
        self.teacher = None if teacher is None else Teacher(teacher)
        self.taught_process, self.distillation = process, distillation
        self.event_flow.requires_grad_(False)
        self.target = distillation.average(self.net)

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`~simulacra.training.teacher.Student`."""
        assert isinstance(teacher, CloudDiffusion)
        if teacher.process != self.taught_process or teacher.transform.seen != self.transform.seen:
            raise IncompatibleError(
                "process or transform.seen of student and teacher differ: their settings must be the same"
            )
        copy_weights(self.event_flow, teacher.event_flow, "flows of the event's numbers")
        copy_weights(self.net, teacher.net, "networks")
        if self.target is not None:
            self.target.load_state_dict(self.net.state_dict())

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of the network of the points, whose average follows each step."""
        own = list(self.net.parameters())
        return {"student": Objective(self.loss, own, self.optim, after=self.follow)}

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the network that samples."""
        return list((self.net if self.target is None else self.target).parameters())

    def network(self, context: Tensor | None) -> CloudNetwork:
        """The network that samples: the average, where there is one."""
        return CloudNetwork(self.net if self.target is None else self.target, context)

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Distance between what student and teacher say."""
        taught = self.taught_by()
        assert isinstance(taught, CloudDiffusion)
        points, mask = trimmed(latent)
        real = mask[..., None].to(points.dtype)
        noise = draws.normal(points.shape, points, generator)
        counts = counted(mask, latent.weight, points)
        context = self.context(latent.x["event"], latent.cond)
        teacher = taught.process.denoiser(taught.network(context).at(mask))
        student, average = (
            self.process.denoiser(network.at(mask))
            for network in (CloudNetwork(self.net, context), self.network(context))
        )
        data, noise = points * real, noise * real
        value = self.distillation.loss(student, average, teacher, data, noise, counts, generator)
        return {"loss": value}

    def follow(self) -> None:
        """Move the average towards the network."""
        self.distillation.follow(self.target, self.net)
