"""CFM unfolding: particle level of an event by conditional flow matching.

Generates: particle level, a draw of the posterior of each event.
Conditions: its detector level.
Representation: tables whose conditions are the detector level.
Reference: Huetsch et al. 2024, arXiv:2404.18807, where the generative unfolding with this flow starts from
    noise.

Note:
    Differs from the reference: a residual network that is told the time by Fourier features, and columns that
    become normal by their distribution functions. No size of it is published for the table here.
"""

from __future__ import annotations

from simulacra.models.tables.table_fm import TableFM
from simulacra.models.tables.unfolder import Unfolder


class CFMUnfolding(Unfolder, TableFM):
    """Flow matching of particle level given detector level, over pairs of both levels."""
