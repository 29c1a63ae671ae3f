r"""RealNVP: affine coupling flow of calorimeter showers, the baseline of the flow family.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition, :math:`p(u | c)\; p(v | E_1 \dots E_L, c)`. Half of the features
steer scale and shift of the others (:mod:`simulacra.dynamics.affine`); blocks of ActNorm, permutation and
coupling.

Reference: Dinh et al., arXiv:1605.08803.

Note:
    Differs from the reference: vectors with fixed permutations in place of images with checkerboards, ActNorm
    for batch normalisation, log scales bounded by ``limit``, a context at every coupling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Spec
from simulacra.dynamics.affine import Affine
from simulacra.dynamics.flows import coupling_flow
from simulacra.models.shower_flow import ShowerFlow


class RealNVP(ShowerFlow):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        blocks: Couplings of the cells' flow.
        hidden: Widths of its steering networks.
        limit: Largest absolute log scale of a coupling.
        dropout: Dropout of the steering networks of the cells' flow.
        energy_blocks: Couplings of the flow of the layer energies.
        energy_hidden: Widths of its steering networks.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        blocks: int,
        hidden: Sequence[int],
        limit: float,
        dropout: float,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        floor: float | None,
        spread: float,
        smear: float,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(spec, given, floor, spread, smear, optimizer, scheduler)
        map_ = Affine(limit)
        self.energy_flow = coupling_flow(
            *self.energy_widths(), energy_blocks, map_, energy_hidden, seed=1
        )
        self.shower_flow = coupling_flow(
            *self.shower_widths(), blocks, map_, hidden, dropout=dropout, seed=0
        )
