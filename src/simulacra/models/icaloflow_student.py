r"""iCaloFlow's student: showers layer by layer, every layer in one pass.

Generates what :mod:`simulacra.models.icaloflow` generates, with inverse-autoregressive flows of the layers
that learn from a trained teacher by probability density distillation
(:mod:`simulacra.dynamics.distillation`); the flow of the layer energies is the teacher's.

Reference: Buckley et al., arXiv:2305.11934, section 3.

Note:
    Both chains are steered by true energies and true layers. At the published size the flow of the next
    layers is 384 wide for 144 cells, which gives 24.5 M parameters as published; for 900 cells the widths are
    those of the teacher (95.1 M).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Latent, Spec
from simulacra.dynamics.distillation import Swapped, copy_fixed_steps, distil, inverted
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.splines import Spline
from simulacra.models.base import GenerativeModule, Objective
from simulacra.models.icaloflow import ICaloFlow
from simulacra.models.optim import Optim
from simulacra.models.teacher import Student, Teacher, copy_weights


class ICaloFlowStudent(Student, ICaloFlow):
    """See the module's docstring; blocks, splines and the first affine step must be the teacher's.

    Args:
        spec: Regular grid with an incident energy.
        given: Fields the generator is given (None: all conditions).
        teacher: Checkpoint of a trained :class:`~simulacra.models.icaloflow.ICaloFlow`, read when training
            begins (None: it can be sampled, but not trained).
        guided: Compare also the free numbers of all splines.
        blocks: Blocks of the flows of the layers.
        first_hidden: Widths of the masked networks of the flow of the first layer.
        next_hidden: Widths of those of the flow of the other layers.
        spline: Elementwise map of both.
        affine: Widths of the network of the first affine step (None: no such step).
        layers_per_step: Layers after the first that each shower shows in a training step (None: all).
        energy_blocks: Blocks of the flow of the layer energies.
        energy_hidden: Widths of its masked networks.
        energy_spline: Its elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        veto: Largest generated ``E_tot / E_inc`` (None: no limit).
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    learns_from = ICaloFlow

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        teacher: str | None,
        guided: bool,
        blocks: int,
        first_hidden: Sequence[int],
        next_hidden: Sequence[int],
        spline: Spline,
        affine: Sequence[int] | None,
        layers_per_step: int | None,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        energy_spline: Spline,
        floor: float | None,
        spread: float,
        smear: float,
        veto: float | None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(
            spec, given, blocks, first_hidden, next_hidden, Swapped(spline), affine, layers_per_step,
            energy_blocks, energy_hidden, energy_spline, floor, spread, smear, veto, optimizer, scheduler,
        )  # fmt: skip
        self.teacher = None if teacher is None else Teacher(teacher)
        self.guided = guided
        self.energy_flow.requires_grad_(False)

    def layer_flow(
        self,
        width: int,
        context: int,
        blocks: int,
        spline: Spline,
        hidden: Sequence[int],
        affine: Sequence[int] | None,
        seed: int,
    ) -> Flow:
        """As the teacher's, in the other direction."""
        return inverted(super().layer_flow(width, context, blocks, spline, hidden, affine, seed))

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`~simulacra.models.teacher.Student`."""
        assert isinstance(teacher, ICaloFlow)
        copy_weights(self.energy_flow, teacher.energy_flow, "flows of the layer energies")
        copy_fixed_steps(self.shower_flow.first, teacher.shower_flow.first)
        copy_fixed_steps(self.shower_flow.next, teacher.shower_flow.next)

    def objectives(self) -> dict[str, Objective]:
        """One: the distillation of both flows of the layers."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return {"student": Objective(self._loss, trained, Optim(self.optimizer, self.scheduler))}

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Sum over both flows; ``kl`` and the chains are means over the layers."""
        taught = self.taught_by()
        assert isinstance(taught, ICaloFlow)
        teachers = {"first": taught.shower_flow.first, "next": taught.shower_flow.next}
        found: dict[str, dict[str, Tensor]] = {}
        for name, rows in self.rows(latent, generator).items():
            z = torch.randn(
                rows.x.shape, generator=generator, device=rows.x.device, dtype=rows.x.dtype
            )
            found[name] = distil(
                rows.flow, teachers[name], rows.x, z, rows.context, rows.context, guided=self.guided
            )
        layers = len(self.shower_flow.widths)
        logged = {
            key: (value + (layers - 1) * found["next"][key]) / layers
            for key, value in found["first"].items()
        }
        return {**logged, "loss": found["first"]["loss"] + found["next"]["loss"]}
