"""CaloScore v2: layer energies and cells of showers by two diffusions.

Generates: cell energies of ragged layers or regular grids. The first diffusion draws the layer energies (and
    event numbers such as an overflow), the second the cells given them, as logits of their share in their
    layer. :mod:`simulacra.models.showers.caloscore2_student` needs fewer steps, down to one.
Conditions: the incident energy and any further condition; logarithms cover the range that the data set
    declares.
Representation: grids and layers. Layers that are all alike are a volume, others one line of cells.
Reference: Mikuni, Nachman 2023, arXiv:2308.03847.

Note:
    Differences from the paper: the volume is closed along the angle; odd numbers of cells are not padded to
    even ones, a block that sticks out is the mean of the cells that exist; maps of the coordinates stand
    beside the cells; shares are not stretched to [0, 1] cell by cell before their logit; the energy of a
    condition ends where the data end, not at 100 GeV; the losses of both networks are added, and clipped
    together. The published sizes have 2.45 M parameters for the photons of data set 1 and 14.4 M for data
    sets 2 and 3 (arXiv:2410.21611).
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class CaloScore2(ShowerModel):
    """Both parts by the angular velocity on the cosine path."""
