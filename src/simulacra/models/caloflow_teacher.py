r"""CaloFlow's teacher: exact-likelihood autoregressive flow of calorimeter showers.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition, :math:`p(u | c)\; p(v | E_1 \dots E_L, c)`. Both flows are masked
autoregressive with rational-quadratic splines: flow I of the layer energies, flow II of the cells, whose
order is reversed or shuffled within each layer from block to block. The density takes one network pass;
samples come cell by cell (:mod:`simulacra.dynamics.incremental`).

References: Krause and Shih, arXiv:2106.05285 (CaloGAN's data); Krause et al., arXiv:2210.14245 (CaloChallenge
data set 1).

Note:
    Differs from the reference: logarithms relative to a floor with empty cells filled below it and noise on
    each layer's scale (:mod:`simulacra.transforms.showers`), in place of uniform noise of 1 keV and logits of
    the cells' shares of their layer; layers scaled back without leaving a cell below the floor; degrees of
    the hidden units (:mod:`simulacra.nn.masked`); SiLU for ReLU; single precision. ``affine`` and ``actnorm``
    are our own and off at the published sizes, which have 28.0 M parameters for the 368 cells in 5 layers of
    photons (28 M in arXiv:2410.21611) and 57.0 M for the 533 in 7 of pions (57.1 M); "one hidden layer" of
    the paper is one block after an input layer of the same width, two layers here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Spec
from simulacra.dynamics.autoregressive import autoregressive_flow, layer_orders
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.splines import Spline
from simulacra.models.shower_flow import ShowerFlow

MOST_CELLS = 10_000
"""Cells that can be drawn one after the other in bearable time."""


class CaloFlowTeacher(ShowerFlow):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        blocks: Masked autoregressive blocks of flow II.
        hidden: Widths of its masked networks.
        spline: Its elementwise map.
        affine: Widths of the network that first takes means and widths at given conditions away (None: no
            such step), in both flows.
        actnorm: Whether an ActNorm precedes each block, in both flows.
        dropout: Dropout of the masked networks of flow II.
        energy_blocks: Masked autoregressive blocks of flow I.
        energy_hidden: Widths of its masked networks.
        energy_spline: Its elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    energy_flow: Flow
    shower_flow: Flow

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        blocks: int,
        hidden: Sequence[int],
        spline: Spline,
        affine: Sequence[int] | None,
        actnorm: bool,
        dropout: float,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        energy_spline: Spline,
        floor: float | None,
        spread: float,
        smear: float,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(spec, given, floor, spread, smear, optimizer, scheduler)
        self.energy_flow = autoregressive_flow(
            *self.energy_widths(),
            energy_blocks,
            energy_spline,
            energy_hidden,
            activation=nn.SiLU,
            affine=affine,
            actnorm=actnorm,
            seed=1,
        )
        self.shower_flow = autoregressive_flow(
            *self.shower_widths(),
            blocks,
            spline,
            hidden,
            orders=layer_orders(self.transform.geometry, blocks, seed=0),
            activation=nn.SiLU,
            dropout=dropout,
            affine=affine,
            actnorm=actnorm,
        )

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy, of not too many cells."""
        reason = super().accepts(spec)
        if reason is None and spec.n_voxels > MOST_CELLS:
            return (
                f"it draws one cell after the other, at most {MOST_CELLS:,} of them, "
                f"and this data set has {spec.n_voxels:,}"
            )
        return reason
