"""Densities by diffusion that learn from another one, already trained, to draw in few steps.

Each has the network of a trained :class:`~simulacra.dynamics.diffusion_density.DiffusionDensity`, whatever is
described, be it cells of a shower, layer energies or rows of a table. The network of a
:class:`DistilledDensity` learns as its :class:`~simulacra.dynamics.students.Distillation` says.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.core import IncompatibleError, Layout, UserError, draws
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.diffusion_density import DiffusionDensity, MakeNet
from simulacra.dynamics.solvers import Solver
from simulacra.dynamics.students import Distillation


class TaughtDensity(DiffusionDensity):
    """A density that has the network of a trained one."""

    _teacher: Callable[[], DiffusionDensity] | None = None

    @property
    def taught_process(self) -> Diffusion:
        """How the teacher learnt."""
        return self.process

    def learn_from(self, ask: Callable[[], DiffusionDensity]) -> None:
        """Name the teacher.

        Args:
            ask: Gives the trained density in a training step, on the right device; it stays out of the module
                tree.
        """
        self._teacher = ask

    def adopt(self, teacher: DiffusionDensity) -> None:
        """Start from the weights of a trained density.

        Raises:
            IncompatibleError: If it learnt otherwise or has another network.
        """
        mine, theirs = self.net.state_dict(), teacher.net.state_dict()
        shapes = [{name: v.shape for name, v in state.items()} for state in (mine, theirs)]
        if teacher.process != self.taught_process or shapes[0] != shapes[1]:
            raise IncompatibleError(
                "process or network of student and teacher differ: their settings must be the same"
            )
        self.net.load_state_dict(theirs)

    def used_parameters(self) -> list[nn.Parameter]:
        """Those that sample."""
        return list(self.parameters())

    def follow(self) -> None:
        """Move the average after an optimizer step; nothing where there is none."""


class DistilledDensity(TaughtDensity):
    """See the module's docstring.

    Args:
        layout: What is described.
        net: Makes the network, as the teacher's.
        process: How the teacher learnt.
        distillation: How the student learns.
        solver: Solver for sampling.
    """

    target: nn.Module | None

    def __init__(
        self,
        layout: Layout,
        net: MakeNet,
        process: Diffusion,
        distillation: Distillation,
        solver: Solver,
    ) -> None:
        super().__init__(layout, net, distillation.process(process), solver)
        self._taught_process, self.distillation = process, distillation
        self.target = distillation.average(self.net)

    @property
    def taught_process(self) -> Diffusion:
        """See :class:`TaughtDensity`."""
        return self._taught_process

    def adopt(self, teacher: DiffusionDensity) -> None:
        """See :meth:`TaughtDensity.adopt`; the average starts there too."""
        super().adopt(teacher)
        if self.target is not None:
            self.target.load_state_dict(teacher.net.state_dict())

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Distance between what student and teacher say, weighted over events.

        Raises:
            UserError: If there is no teacher.
        """
        if self._teacher is None:
            raise UserError("a distilled density learns from a trained one, and there is none")
        teacher = self._teacher()
        noise = draws.normal(x.shape, x, generator)
        each = torch.ones_like(x[:, 0]) if weight is None else weight.to(x)
        student, average = (
            self.process.denoiser(network)
            for network in (Bound(self.net, context), self.network(context))
        )
        return self.distillation.loss(
            student,
            average,
            teacher.process.denoiser(teacher.network(context)),
            x,
            noise,
            each[:, None].expand_as(x),
            generator,
        )

    def network(self, context: Tensor | None) -> Bound:
        """The network that samples: the average, where there is one."""
        return Bound(self.net if self.target is None else self.target, context)

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the network that samples."""
        return list((self.net if self.target is None else self.target).parameters())

    def follow(self) -> None:
        """Move the average after an optimizer step."""
        self.distillation.follow(self.target, self.net)
