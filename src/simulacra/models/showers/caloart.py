"""CaloArt: all cells of a shower at once by a flow, a transformer of few large patches.

Generates: all cell energies of ragged layers or regular grids, as logarithms, with no network of the layer
    energies; event numbers such as an overflow, where a data set has them, by a small flow of their own.
Conditions: the incident energy and any further condition.
Representation: grids and layers. Layers that are all alike may be joined in a patch; those that differ are
    cut one by one.
Reference: arXiv:2605.12011.

Note:
    What the network predicts (velocity, data or noise) and what is compared are chosen apart. Showers beyond
    ``transform.veto`` times the incident energy are not finite: sampling with ``redraw=ROUNDS`` draws them
    again and says how many; none is dropped. Differences from the paper: conditions are one vector, through
    two linear layers, in place of a network for each; the sampling fraction is not needed, as energies are
    counted in units of the readout threshold; the last of the Heun steps has two evaluations like the others.
    The published sizes have 11.9 M parameters for data set 2 and, of our own counting, 26.2 M for data set 3.
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class CaloArt(ShowerModel):
    """A flow of all cells."""
