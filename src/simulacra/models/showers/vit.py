"""ViT: layer energies and cells of showers by two flows, the cells' a transformer of patches.

Generates: cell energies of ragged layers or regular grids. The first flow draws the layer energies (and event
    numbers such as an overflow) all at once, the second the cells given them, as logits of their share in
    their layer.
Conditions: the incident energy and any further condition.
Representation: grids and layers. Layers that are all alike may be joined in a patch; those that differ are
    cut one by one, and layers without angles are repeated along the patch and averaged on the way back.
Reference: arXiv:2601.05289; CaloDREAM, arXiv:2405.09629, section 3; code luigifvr/vit4hep.

Note:
    Differences from the reference: layer energies enter the second flow as logarithms; the losses of both
    flows are added and trained together, for as many steps (the paper's energies: 250,000 of 256 showers).
    The published sizes have 26.0 M parameters for the cells of data set 2 and 0.75 M for its energies.
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class ViT(ShowerModel):
    """Two flows, of layer energies and of cells."""
