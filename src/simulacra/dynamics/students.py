"""How a student learns from a trained denoiser, whatever the two are of: clouds, cells or rows of a table.

*Halving* is progressive distillation, after which one step leads where two of the teacher do; *averaging* is
consistency distillation, after which one step leads from noise to data and a moving average of the student's
network samples. The losses are those of :mod:`simulacra.dynamics.consistency`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Share
from simulacra.dynamics.consistency import consistency_loss, progressive_loss
from simulacra.dynamics.denoiser import Denoiser, Preconditioned
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.paths import KarrasPath


@role
class Distillation(ABC):
    """See the module's docstring."""

    def process(self, taught: Diffusion) -> Diffusion:
        """What a sampler sees of the student, from how the teacher learnt.

        Raises:
            UserError: If the student cannot learn from it.
        """
        return taught

    def average(self, net: nn.Module) -> nn.Module | None:
        """The network that samples in place of the student's own, or None."""
        return None

    def follow(self, average: nn.Module | None, net: nn.Module) -> None:  # noqa: B027  # most keep none
        """Move the average after an optimizer step; nothing where there is none."""

    @abstractmethod
    def loss(
        self,
        student: Denoiser,
        average: Denoiser,
        teacher: Denoiser,
        data: Tensor,
        noise: Tensor,
        counts: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Distance between what student and teacher say, a scalar.

        Args:
            student: Learns.
            average: What samples: the student's average, where there is one, else the student.
            teacher: Trained denoiser on the same path.
            data: Normalised data ``(B, *)``.
            noise: Standard normal, of the same shape.
            counts: How much each entry counts ``(B, *, 1)``: 0 for padding, else the weight of its event.
            generator: Source of the places on the walk, one per event.
        """


@dataclass(frozen=True)
class Halving(Distillation):
    """Progressive distillation.

    Args:
        steps: Steps of the student's walk, half of the teacher's.
    """

    steps: Count

    def loss(
        self,
        student: Denoiser,
        average: Denoiser,
        teacher: Denoiser,
        data: Tensor,
        noise: Tensor,
        counts: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :func:`~simulacra.dynamics.consistency.progressive_loss`."""
        return progressive_loss(student, teacher, data, noise, self.steps, counts, generator)


@dataclass(frozen=True)
class Averaging(Distillation):
    """Consistency distillation of a preconditioned denoiser on a Karras path.

    Args:
        steps: Steps of the walk along which the student learns.
        decay: Share of the moving average of its weights that is kept at each optimizer step.
    """

    steps: Count
    decay: Share

    def process(self, taught: Diffusion) -> Diffusion:
        """The teacher's, but for the identity at the smallest noise."""
        if not isinstance(taught.path, KarrasPath) or not isinstance(
            taught.predicts, Preconditioned
        ):
            raise UserError(
                "consistency distillation needs a preconditioned denoiser on a Karras path"
            )
        return replace(taught, predicts=replace(taught.predicts, boundary=taught.path.sigma_min))

    def average(self, net: nn.Module) -> nn.Module:
        """A copy that is not trained."""
        return deepcopy(net).requires_grad_(False)

    @torch.no_grad()
    def follow(self, average: nn.Module | None, net: nn.Module) -> None:
        """Move the average towards the network."""
        assert average is not None
        torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - self.decay)

    def loss(
        self,
        student: Denoiser,
        average: Denoiser,
        teacher: Denoiser,
        data: Tensor,
        noise: Tensor,
        counts: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :func:`~simulacra.dynamics.consistency.consistency_loss`."""
        return consistency_loss(
            student, average, teacher, data, noise, self.steps, counts, generator
        )
