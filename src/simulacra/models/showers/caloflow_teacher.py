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

from simulacra.core import Spec
from simulacra.models.showers.shower_model import ShowerModel

MOST_CELLS = 10_000
"""Cells that can be drawn one after the other in bearable time."""


class CaloFlowTeacher(ShowerModel):
    """Masked autoregressive flows."""

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
