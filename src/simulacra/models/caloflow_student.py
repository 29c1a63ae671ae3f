r"""CaloFlow's student: calorimeter showers in one pass per block.

Generates what :mod:`simulacra.models.caloflow_teacher` generates. The flow of the layer energies is the
teacher's; the flow of the cells is inverse-autoregressive and learns from the teacher's by probability
density distillation (:mod:`simulacra.dynamics.distillation`): true showers in the x-chain, noise in the
z-chain, there with layer energies that the first flow draws at the conditions of the data. ``kl``, the
divergence of the student from the teacher in nats per cell, is logged and can choose the checkpoint. Samples
are fast, the density comes cell by cell.

References: Krause and Shih, arXiv:2110.11377; Krause et al., arXiv:2210.14245 (CaloChallenge data set 1).

Note:
    Preprocessing and the small sizes' affine step and ActNorms are the teacher's. The published sizes have
    56.5 M parameters for the 368 cells in 5 layers of photons (width 736, fully guided) and 53.4 M for the
    533 in 7 of pions (width 500); arXiv:2410.21611 says 56.6 M and 53.4 M.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Batch, Latent, Spec
from simulacra.dynamics.distillation import Swapped, copy_fixed_steps, distil, inverted
from simulacra.dynamics.splines import Spline
from simulacra.models.base import GenerativeModule, Objective
from simulacra.models.caloflow_teacher import CaloFlowTeacher
from simulacra.models.optim import Optim
from simulacra.models.teacher import Student, Teacher, copy_weights


class CaloFlowStudent(Student, CaloFlowTeacher):
    """See the module's docstring; blocks, splines and the flow of the energies must be the teacher's.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        teacher: Checkpoint of a trained :class:`~simulacra.models.caloflow_teacher.CaloFlowTeacher`, read
            when training begins (None: it can be sampled, but not trained).
        guided: Compare also the free numbers of all splines.
        blocks: Inverse-autoregressive blocks of the flow of the cells.
        hidden: Widths of its masked networks.
        spline: Its elementwise map.
        affine: Widths of the network of the teacher's first affine step (None: no such step), in both flows.
        actnorm: Whether an ActNorm precedes each block, in both flows.
        energy_blocks: Masked autoregressive blocks of the flow of the layer energies.
        energy_hidden: Widths of its masked networks.
        energy_spline: Its elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    learns_from = CaloFlowTeacher

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        guided: bool,
        blocks: int,
        hidden: Sequence[int],
        spline: Spline,
        affine: Sequence[int] | None,
        actnorm: bool,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        energy_spline: Spline,
        floor: float | None,
        spread: float,
        smear: float,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(
            spec, given, blocks, hidden, Swapped(spline), affine, actnorm, 0.0, energy_blocks,
            energy_hidden, energy_spline, floor, spread, smear, optimizer, scheduler,
        )  # fmt: skip
        self.teacher = None if teacher is None else Teacher(teacher)
        self.guided = guided
        self.shower_flow = inverted(self.shower_flow)
        self.energy_flow.requires_grad_(False)

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`~simulacra.models.teacher.Student`."""
        assert isinstance(teacher, CaloFlowTeacher)
        copy_weights(self.energy_flow, teacher.energy_flow, "flows of the layer energies")
        copy_fixed_steps(self.shower_flow, teacher.shower_flow)

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of the flow of the cells."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return {"student": Objective(self._loss, trained, Optim(self.optimizer, self.scheduler))}

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As the teacher; in training also ``drawn``, layer energies of the first flow at the conditions."""
        latent = super().encode(batch, generator)
        if not self.training and generator is None:
            return latent
        cond = batch.conditions(self.transform.conditions.names)
        with torch.no_grad():
            drawn = self.transform.context(self.draw_energies(cond, generator), cond)
        return replace(latent, x={**latent.x, "drawn": drawn})

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        taught = self.taught_by()
        assert isinstance(taught, CaloFlowTeacher)
        x = self.described(latent)
        z = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        asked = self.context(Latent({"layers": latent.x["drawn"]}, latent.cond))
        return distil(
            self.shower_flow,
            taught.shower_flow,
            x,
            z,
            self.context(latent),
            asked,
            guided=self.guided,
        )
