"""CaloDREAM: layer energies and cells of showers by two flows, the energies one layer after the other.

Generates: cell energies of ragged layers or regular grids. The first flow draws the layer energies (and event
    numbers such as an overflow) one by one, each given those before it, or all at once by configuration; the
    second draws the cells given them, as logits of their share in their layer.
Conditions: the incident energy and any further condition.
Representation: grids and layers.
Reference: CaloDREAM, arXiv:2405.09629; code heidelberg-hepml/calo_dreamer.

Note:
    Differences from the reference: noise stands for empty cells alone and leaves hits as they are; layer
    energies enter the second flow as logarithms; the losses of both flows are added and trained together, for
    as many steps. The published sizes have 2.38 M parameters for 45 layer energies and 1.07 M for the cells
    of data set 2, as in the released code; the network of the paper is larger.
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class CaloDREAM(ShowerModel):
    """Two flows, of layer energies and of cells."""
