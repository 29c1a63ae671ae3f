"""cINN unfolding: particle level of an event from a conditional invertible network.

Generates: particle level, a draw of the posterior of each event.
Conditions: its detector level.
Representation: tables whose conditions are the detector level.
Reference: Bellagente et al. 2020, arXiv:2006.06685; iterated in Backes, Butter, Dunford, Malaescu 2022,
    arXiv:2212.08674.

Note:
    Differs from the reference: columns become normal by their distribution functions before the flow, the
    detector level steers every coupling without a network that condenses it, the splines are
    rational-quadratic, and there is no further loss on masses. No size of it is published for tables of jet
    substructure.
"""

from __future__ import annotations

from simulacra.models.tables.table_flow import TableFlow
from simulacra.models.tables.unfolder import Unfolder


class CINNUnfolding(Unfolder, TableFlow):
    """A conditional flow of particle level, by maximum likelihood over pairs of both levels."""
