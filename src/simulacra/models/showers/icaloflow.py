r"""iCaloFlow: exact-likelihood flow of showers with many layers, generated one layer after the other.

Generates cell energies of a regular grid given the incident energy and any further condition, by three
masked autoregressive spline flows: the energies of all layers; the first layer; every further layer, given
the one before it (:mod:`simulacra.dynamics.inductive`). A generated layer is scaled to its energy and cut
at the readout threshold before the next one sees it. :mod:`simulacra.models.showers.icaloflow_student`
learns from it to sample fast.

Reference: Buckley et al., arXiv:2305.11934; code claudius-krause/inductive-caloflow.

Note:
    Differs from the reference: energies and cells are logarithms relative to a floor, as in
    :mod:`simulacra.transforms.showers`, in place of logits of noisy fractions; layers are scaled without
    leaving a cell below the floor; the three flows are trained together, each for the mean over what it
    describes, and a step may draw some of the layers of each shower; SiLU for ReLU. The small size begins
    with an affine step steered by the context. The published sizes (8 blocks, 8 bins, width 256, two hidden
    layers for the energies, three for the first layer and, with 144 cells, for the others, else two) have
    19.5 M parameters for 45 layers of 144 cells and 95.1 M for 45 of 900.
"""

from __future__ import annotations

from simulacra.dynamics.inductive import InductiveChain
from simulacra.models.showers.layerwise import Layerwise


class ICaloFlow(Layerwise):
    """Autoregressive flows of the energies, the first layer and all others."""

    cells: InductiveChain
